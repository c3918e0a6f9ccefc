BEGIN TRANSACTION;

CREATE TABLE c_AlembicVersion (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT [c_AlembicVersion_pkc] PRIMARY KEY (version_num)
);

GO

-- Running upgrade  -> 0001

CREATE TABLE c_JobAlert (
    ID INTEGER NOT NULL IDENTITY,
    JobName NVARCHAR(100) NOT NULL,
    AlertOnFailure BIT NOT NULL DEFAULT 1,
    AlertOnSuccess BIT NOT NULL DEFAULT 0,
    AlertOnDurationExceeds INTEGER NULL,
    EmailRecipients NVARCHAR(500) NULL,
    SlackWebhook NVARCHAR(500) NULL,
    TeamsWebhook NVARCHAR(500) NULL,
    MaxAlertsPerHour INTEGER NULL,
    LastAlertSent DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobAlert PRIMARY KEY (ID),
    CONSTRAINT UQ_c_JobAlert_JobName UNIQUE (JobName)
);

GO

CREATE TABLE c_JobAudit (
    Id BIGINT NOT NULL IDENTITY,
    At DATETIME2(6) NOT NULL,
    Actor NVARCHAR(100) NOT NULL,
    Action NVARCHAR(50) NOT NULL,
    JobName NVARCHAR(100) NULL,
    RunId BIGINT NULL,
    Detail NVARCHAR(max) NULL,
    RemoteAddress NVARCHAR(100) NULL,
    CONSTRAINT PK_c_JobAudit PRIMARY KEY (Id)
);

GO

CREATE TABLE c_JobLogLine (
    Id BIGINT NOT NULL IDENTITY,
    RunId BIGINT NOT NULL,
    Attempt INTEGER NOT NULL,
    At DATETIME2(6) NOT NULL,
    Level NVARCHAR(10) NOT NULL,
    Message NVARCHAR(max) NOT NULL,
    CONSTRAINT PK_c_JobLogLine PRIMARY KEY (Id)
);

GO

CREATE INDEX IX_c_JobLogLine_RunId ON c_JobLogLine (RunId);

GO

CREATE TABLE c_JobQueue (
    Name NVARCHAR(50) NOT NULL,
    PausedBy NVARCHAR(100) NULL,
    PausedAt DATETIME2(6) NULL,
    PauseReason NVARCHAR(500) NULL,
    PausedUntil DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobQueue PRIMARY KEY (Name)
);

GO

CREATE TABLE c_JobRun (
    Id BIGINT NOT NULL IDENTITY,
    JobName NVARCHAR(100) NOT NULL,
    JobType NVARCHAR(50) NOT NULL,
    State NVARCHAR(20) NOT NULL,
    Queue NVARCHAR(50) NOT NULL,
    Priority INTEGER NOT NULL DEFAULT '0',
    ArgumentsJson NVARCHAR(max) NULL,
    ScheduledFor DATETIME2(6) NULL,
    DueAt DATETIME2(6) NOT NULL,
    CreatedAt DATETIME2(6) NOT NULL,
    StartedAt DATETIME2(6) NULL,
    CompletedAt DATETIME2(6) NULL,
    Attempt INTEGER NOT NULL DEFAULT '0',
    LostWorkers INTEGER NOT NULL DEFAULT '0',
    ServerId NVARCHAR(100) NULL,
    TriggeredBy NVARCHAR(100) NOT NULL,
    Message NVARCHAR(max) NULL,
    BlockedBy BIGINT NULL,
    ProgressDone FLOAT NULL,
    ProgressTotal FLOAT NULL,
    CancelRequestedBy NVARCHAR(100) NULL,
    LifeLog NVARCHAR(max) NOT NULL DEFAULT '',
    CONSTRAINT PK_c_JobRun PRIMARY KEY (Id)
);

GO

CREATE INDEX IX_c_JobRun_Claim ON c_JobRun (State, Queue, Priority DESC, DueAt, Id);

GO

CREATE INDEX IX_c_JobRun_CreatedAt ON c_JobRun (CreatedAt);

GO

CREATE INDEX IX_c_JobRun_JobName_Id ON c_JobRun (JobName, Id DESC);

GO

CREATE INDEX IX_c_JobRun_JobName_State ON c_JobRun (JobName, State);

GO

CREATE INDEX IX_c_JobRun_State_DueAt ON c_JobRun (State, DueAt);

GO

CREATE UNIQUE INDEX UQ_c_JobRun_Slot ON c_JobRun (JobName, ScheduledFor) WHERE ScheduledFor IS NOT NULL;

GO

CREATE TABLE c_JobSchedule (
    JobName NVARCHAR(100) NOT NULL,
    ScheduleText NVARCHAR(300) NULL,
    LastSlot DATETIME2(6) NULL,
    PausedBy NVARCHAR(100) NULL,
    PausedAt DATETIME2(6) NULL,
    PauseReason NVARCHAR(500) NULL,
    PausedUntil DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobSchedule PRIMARY KEY (JobName)
);

GO

CREATE TABLE c_JobServer (
    Id NVARCHAR(100) NOT NULL,
    Name NVARCHAR(100) NOT NULL,
    ProcessId INTEGER NOT NULL,
    Queues NVARCHAR(500) NOT NULL,
    Workers INTEGER NOT NULL,
    Version NVARCHAR(50) NOT NULL,
    StartedAt DATETIME2(6) NOT NULL,
    HeartbeatAt DATETIME2(6) NOT NULL,
    StoppingAt DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobServer PRIMARY KEY (Id)
);

GO

CREATE TABLE c_JobSession (
    TokenHash NVARCHAR(64) NOT NULL,
    UserName NVARCHAR(100) NOT NULL,
    Role NVARCHAR(20) NOT NULL,
    CsrfToken NVARCHAR(64) NOT NULL,
    CreatedAt DATETIME2(6) NOT NULL,
    ExpiresAt DATETIME2(6) NOT NULL,
    CONSTRAINT PK_c_JobSession PRIMARY KEY (TokenHash)
);

GO

CREATE TABLE c_JobStep (
    RunId BIGINT NOT NULL,
    Name NVARCHAR(200) NOT NULL,
    ResultJson NVARCHAR(max) NOT NULL,
    Attempt INTEGER NOT NULL,
    CompletedAt DATETIME2(6) NOT NULL,
    DurationMs INTEGER NOT NULL,
    CONSTRAINT PK_c_JobStep PRIMARY KEY (RunId, Name)
);

GO

CREATE TABLE c_JobToken (
    Name NVARCHAR(100) NOT NULL,
    TokenHash NVARCHAR(64) NOT NULL,
    Role NVARCHAR(20) NOT NULL,
    CreatedBy NVARCHAR(100) NOT NULL,
    CreatedAt DATETIME2(6) NOT NULL,
    LastUsedAt DATETIME2(6) NULL,
    ExpiresAt DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobToken PRIMARY KEY (Name),
    CONSTRAINT UQ_c_JobToken_TokenHash UNIQUE (TokenHash)
);

GO

CREATE TABLE c_JobUser (
    Name NVARCHAR(100) NOT NULL,
    PasswordHash NVARCHAR(200) NOT NULL,
    Role NVARCHAR(20) NOT NULL,
    CreatedAt DATETIME2(6) NOT NULL,
    LastLoginAt DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobUser PRIMARY KEY (Name)
);

GO

CREATE TABLE c_LoggedJob (
    ID BIGINT NOT NULL IDENTITY,
    JobName NVARCHAR(100) NOT NULL,
    JobId NVARCHAR(100) NULL,
    JobType NVARCHAR(50) NOT NULL,
    StartedAt DATETIME2(6) NOT NULL,
    CompletedAt DATETIME2(6) NULL,
    DurationMs INTEGER NULL,
    Success BIT NOT NULL,
    ResultMessage NVARCHAR(max) NULL,
    ErrorMessage NVARCHAR(max) NULL,
    StackTrace NVARCHAR(max) NULL,
    ServerName NVARCHAR(100) NULL,
    TriggeredBy NVARCHAR(100) NULL,
    MemoryUsedMB INTEGER NULL,
    CpuTimeMs INTEGER NULL,
    CreatedAt DATETIME2(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    Attempt INTEGER NOT NULL DEFAULT '1',
    ScheduledFor DATETIME2(6) NULL,
    MetadataJson NVARCHAR(max) NULL,
    CONSTRAINT PK_c_LoggedJob PRIMARY KEY (ID)
);

GO

CREATE INDEX IX_c_LoggedJob_JobName_StartedAt ON c_LoggedJob (JobName, StartedAt DESC);

GO

CREATE INDEX IX_c_LoggedJob_Success ON c_LoggedJob (Success, StartedAt DESC) WHERE Success = 0;

GO

INSERT INTO c_AlembicVersion (version_num) OUTPUT inserted.version_num VALUES ('0001');

GO

COMMIT;

GO
