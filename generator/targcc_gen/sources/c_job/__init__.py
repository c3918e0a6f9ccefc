"""TARGCC's own tables, in both families of their columns: `c_Job`, `c_JobAlertRecipient`, `c_LoggedJob`, `c_User`."""
