"""TARGCC's own tables, in both families of columns: `c_Job`, `c_JobAlertRecipient`, `c_LoggedJob`, `c_User`."""
