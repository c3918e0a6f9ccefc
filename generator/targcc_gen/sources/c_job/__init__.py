"""TARGCC's own `c_Job`, `c_JobAlertRecipient`, `c_LoggedJob` and `c_User`, in both families of their columns."""
