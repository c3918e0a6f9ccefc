BEGIN TRANSACTION;

-- Running upgrade 0001 -> 0002

CREATE INDEX IX_c_JobAudit_RunId ON c_JobAudit (RunId);

GO

CREATE INDEX IX_c_JobRun_CompletedAt ON c_JobRun (CompletedAt, Id);

GO

CREATE INDEX IX_c_JobRun_State_Id ON c_JobRun (State, Id DESC);

GO

CREATE INDEX IX_c_LoggedJob_JobId ON c_LoggedJob (JobId);

GO

CREATE INDEX IX_c_LoggedJob_JobName_ID ON c_LoggedJob (JobName, ID);

GO

CREATE INDEX IX_c_LoggedJob_StartedAt ON c_LoggedJob (StartedAt, ID);

GO

UPDATE c_AlembicVersion SET version_num='0002' WHERE c_AlembicVersion.version_num = '0001';

GO

COMMIT;

GO
