BEGIN;

-- Running upgrade 0001 -> 0002

CREATE INDEX IX_c_JobAudit_RunId ON c_JobAudit (RunId);

CREATE INDEX IX_c_JobRun_CompletedAt ON c_JobRun (CompletedAt, Id);

CREATE INDEX IX_c_JobRun_State_Id ON c_JobRun (State, Id DESC);

CREATE INDEX IX_c_LoggedJob_JobId ON c_LoggedJob (JobId);

CREATE INDEX IX_c_LoggedJob_JobName_ID ON c_LoggedJob (JobName, ID);

CREATE INDEX IX_c_LoggedJob_StartedAt ON c_LoggedJob (StartedAt, ID);

UPDATE c_alembicversion SET version_num='0002' WHERE c_alembicversion.version_num = '0001';

COMMIT;
