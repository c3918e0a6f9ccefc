"""A process beside the node that beats for it while its interpreter does not answer."""
