BEGIN TRANSACTION;

-- Running upgrade 0002 -> 0003

ALTER TABLE c_JobRun ADD UnknownSince DATETIME2(6) NULL;

GO

ALTER TABLE c_JobRun ADD RefusedBy NVARCHAR(max) NULL;

GO

ALTER TABLE c_JobRun ADD StopNote NVARCHAR(max) NULL;

GO

ALTER TABLE c_JobSchedule ADD Release NVARCHAR(100) NULL;

GO

ALTER TABLE c_JobServer ADD Release NVARCHAR(100) NULL;

GO

ALTER TABLE c_JobServer ADD Fingerprint NVARCHAR(64) NULL;

GO

ALTER TABLE c_JobServer ADD ClockOffsetMs INTEGER NULL;

GO

ALTER TABLE c_JobServer ADD StuckSince DATETIME2(6) NULL;

GO

ALTER TABLE c_JobServer ADD StuckIn NVARCHAR(max) NULL;

GO

ALTER TABLE c_JobServer ADD DrainRequestedBy NVARCHAR(100) NULL;

GO

ALTER TABLE c_JobServer ADD DrainRequestedAt DATETIME2(6) NULL;

GO

CREATE TABLE c_JobRelease (
    Release NVARCHAR(100) NOT NULL,
    Fingerprint NVARCHAR(64) NOT NULL,
    FirstSeenAt DATETIME2(6) NOT NULL,
    ChosenBy NVARCHAR(100) NULL,
    ChosenAt DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobRelease PRIMARY KEY (Release)
);

GO

CREATE TABLE c_JobSetting (
    Name NVARCHAR(100) NOT NULL,
    Value NVARCHAR(max) NOT NULL,
    UpdatedAt DATETIME2(6) NOT NULL,
    CONSTRAINT PK_c_JobSetting PRIMARY KEY (Name)
);

GO

CREATE TABLE c_JobStat (
    JobName NVARCHAR(100) NOT NULL,
    BeginsAt DATETIME2(6) NOT NULL,
    Outcome NVARCHAR(20) NOT NULL,
    Bucket INTEGER NOT NULL,
    Shard INTEGER NOT NULL,
    Count INTEGER NOT NULL,
    Retried INTEGER NOT NULL DEFAULT '0',
    SumMs BIGINT NOT NULL DEFAULT '0',
    MaxMs INTEGER NOT NULL DEFAULT '0',
    CONSTRAINT PK_c_JobStat PRIMARY KEY (JobName, BeginsAt, Outcome, Bucket, Shard)
);

GO

CREATE INDEX IX_c_JobStat_BeginsAt ON c_JobStat (BeginsAt);

GO

CREATE INDEX IX_c_JobRun_JobName_State_Id ON c_JobRun (JobName, State, Id DESC);

GO

CREATE INDEX IX_c_JobAudit_JobName_Id ON c_JobAudit (JobName, Id DESC);

GO

CREATE INDEX IX_c_JobAudit_At ON c_JobAudit (At, Id);

GO

DROP INDEX IX_c_JobRun_JobName_State ON c_JobRun;

GO

CREATE INDEX IX_c_JobRun_UnknownSince ON c_JobRun (UnknownSince) WHERE UnknownSince IS NOT NULL;

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0003', '0002', CURRENT_TIMESTAMP);

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt) SELECT 'uncounted attempts', CAST(Newest AS VARCHAR(20)), SYSUTCDATETIME() FROM (SELECT max(ID) AS Newest FROM c_LoggedJob) AS found WHERE Newest IS NOT NULL;

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt) SELECT 'uncounted runs', CAST(Newest AS VARCHAR(20)), SYSUTCDATETIME() FROM (SELECT max(Id) AS Newest FROM c_JobRun) AS found WHERE Newest IS NOT NULL;

GO

UPDATE c_AlembicVersion SET version_num='0003' WHERE c_AlembicVersion.version_num = '0002';

GO

COMMIT;

GO
