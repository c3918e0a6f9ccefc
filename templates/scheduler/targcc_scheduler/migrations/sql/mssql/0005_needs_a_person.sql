BEGIN TRANSACTION;

-- Running upgrade 0004 -> 0005

ALTER TABLE c_JobRun ADD Cause NVARCHAR(32) NULL;

GO

ALTER TABLE c_JobRun ADD HandledAt DATETIME2(6) NULL;

GO

ALTER TABLE c_JobRun ADD HandledBy NVARCHAR(100) NULL;

GO

ALTER TABLE c_JobRun ADD Handling NVARCHAR(500) NULL;

GO

ALTER TABLE c_JobRun ADD RetryOf BIGINT NULL;

GO

CREATE INDEX IX_c_JobRun_Cause ON c_JobRun (Cause, CompletedAt) WHERE Cause IS NOT NULL;

GO

CREATE INDEX IX_c_JobRun_Open ON c_JobRun (Cause, Id) WHERE Cause IS NOT NULL AND HandledAt IS NULL;

GO

CREATE INDEX IX_c_JobRun_RetryOf ON c_JobRun (State, RetryOf) WHERE RetryOf IS NOT NULL;

GO

CREATE TABLE c_JobFailure (
    Cause NVARCHAR(32) NOT NULL,
    JobName NVARCHAR(100) NOT NULL,
    Kind NVARCHAR(200) NOT NULL,
    Place NVARCHAR(300) NULL,
    Message NVARCHAR(max) NULL,
    FirstAt DATETIME2(6) NOT NULL,
    FirstRunId BIGINT NULL,
    FirstRelease NVARCHAR(100) NULL,
    SnoozedBy NVARCHAR(100) NULL,
    SnoozedUntil DATETIME2(6) NULL,
    Note NVARCHAR(1000) NULL,
    MutedBy NVARCHAR(100) NULL,
    MutedAt DATETIME2(6) NULL,
    Assignee NVARCHAR(100) NULL,
    Ticket NVARCHAR(500) NULL,
    CONSTRAINT PK_c_JobFailure PRIMARY KEY (Cause)
);

GO

CREATE TABLE c_JobConcern (
    Subject NVARCHAR(200) NOT NULL,
    Kind NVARCHAR(30) NOT NULL,
    Since DATETIME2(6) NOT NULL,
    Detail NVARCHAR(max) NOT NULL,
    CONSTRAINT PK_c_JobConcern PRIMARY KEY (Subject, Kind)
);

GO

CREATE TABLE c_JobBulk (
    Id BIGINT NOT NULL IDENTITY,
    Action NVARCHAR(20) NOT NULL,
    FilterJson NVARCHAR(max) NOT NULL,
    OptionsJson NVARCHAR(max) NOT NULL,
    Status NVARCHAR(20) NOT NULL,
    Total INTEGER NOT NULL,
    Done INTEGER NOT NULL DEFAULT '0',
    Refused INTEGER NOT NULL DEFAULT '0',
    Place BIGINT NULL,
    Ceiling BIGINT NOT NULL,
    Actor NVARCHAR(100) NOT NULL,
    StartedAt DATETIME2(6) NOT NULL,
    EndedAt DATETIME2(6) NULL,
    Undoes BIGINT NULL,
    Message NVARCHAR(max) NULL,
    CONSTRAINT PK_c_JobBulk PRIMARY KEY (Id)
);

GO

CREATE TABLE c_JobBulkRun (
    BulkId BIGINT NOT NULL,
    RunId BIGINT NOT NULL,
    NewRunId BIGINT NULL,
    Previous NVARCHAR(100) NULL,
    CONSTRAINT PK_c_JobBulkRun PRIMARY KEY (BulkId, RunId)
);

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0005', '0004', CURRENT_TIMESTAMP);

GO

UPDATE c_AlembicVersion SET version_num='0005' WHERE c_AlembicVersion.version_num = '0004';

GO

COMMIT;

GO
