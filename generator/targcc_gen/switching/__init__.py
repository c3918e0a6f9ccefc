"""`targcc-gen scheduler`: a project changes between a copy of the scheduler and the package, without losing what people wrote."""
