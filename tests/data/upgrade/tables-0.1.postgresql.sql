BEGIN;

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

CREATE TABLE c_JobAlert (
    ID SERIAL NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    AlertOnFailure BOOLEAN DEFAULT true NOT NULL,
    AlertOnSuccess BOOLEAN DEFAULT false NOT NULL,
    AlertOnDurationExceeds INTEGER,
    EmailRecipients VARCHAR(500),
    SlackWebhook VARCHAR(500),
    TeamsWebhook VARCHAR(500),
    MaxAlertsPerHour INTEGER,
    LastAlertSent TIMESTAMP WITH TIME ZONE,
    CONSTRAINT PK_c_JobAlert PRIMARY KEY (ID),
    CONSTRAINT UQ_c_JobAlert_JobName UNIQUE (JobName)
);

CREATE TABLE c_JobAudit (
    Id BIGSERIAL NOT NULL,
    At TIMESTAMP WITH TIME ZONE NOT NULL,
    Actor VARCHAR(100) NOT NULL,
    Action VARCHAR(50) NOT NULL,
    JobName VARCHAR(100),
    RunId BIGINT,
    Detail TEXT,
    RemoteAddress VARCHAR(100),
    CONSTRAINT PK_c_JobAudit PRIMARY KEY (Id)
);

CREATE TABLE c_JobLogLine (
    Id BIGSERIAL NOT NULL,
    RunId BIGINT NOT NULL,
    Attempt INTEGER NOT NULL,
    At TIMESTAMP WITH TIME ZONE NOT NULL,
    Level VARCHAR(10) NOT NULL,
    Message TEXT NOT NULL,
    CONSTRAINT PK_c_JobLogLine PRIMARY KEY (Id)
);

CREATE INDEX IX_c_JobLogLine_RunId ON c_JobLogLine (RunId);

CREATE TABLE c_JobQueue (
    Name VARCHAR(50) NOT NULL,
    PausedBy VARCHAR(100),
    PausedAt TIMESTAMP WITH TIME ZONE,
    PauseReason VARCHAR(500),
    PausedUntil TIMESTAMP WITH TIME ZONE,
    CONSTRAINT PK_c_JobQueue PRIMARY KEY (Name)
);

CREATE TABLE c_JobRun (
    Id BIGSERIAL NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    JobType VARCHAR(50) NOT NULL,
    State VARCHAR(20) NOT NULL,
    Queue VARCHAR(50) NOT NULL,
    Priority INTEGER DEFAULT '0' NOT NULL,
    ArgumentsJson TEXT,
    ScheduledFor TIMESTAMP WITH TIME ZONE,
    DueAt TIMESTAMP WITH TIME ZONE NOT NULL,
    CreatedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    StartedAt TIMESTAMP WITH TIME ZONE,
    CompletedAt TIMESTAMP WITH TIME ZONE,
    Attempt INTEGER DEFAULT '0' NOT NULL,
    LostWorkers INTEGER DEFAULT '0' NOT NULL,
    ServerId VARCHAR(100),
    TriggeredBy VARCHAR(100) NOT NULL,
    Message TEXT,
    BlockedBy BIGINT,
    ProgressDone FLOAT,
    ProgressTotal FLOAT,
    CancelRequestedBy VARCHAR(100),
    LifeLog TEXT DEFAULT '' NOT NULL,
    CONSTRAINT PK_c_JobRun PRIMARY KEY (Id)
);

CREATE INDEX IX_c_JobRun_Claim ON c_JobRun (State, Queue, Priority DESC, DueAt, Id);

CREATE INDEX IX_c_JobRun_CreatedAt ON c_JobRun (CreatedAt);

CREATE INDEX IX_c_JobRun_JobName_Id ON c_JobRun (JobName, Id DESC);

CREATE INDEX IX_c_JobRun_JobName_State ON c_JobRun (JobName, State);

CREATE INDEX IX_c_JobRun_State_DueAt ON c_JobRun (State, DueAt);

CREATE UNIQUE INDEX UQ_c_JobRun_Slot ON c_JobRun (JobName, ScheduledFor);

CREATE TABLE c_JobSchedule (
    JobName VARCHAR(100) NOT NULL,
    ScheduleText VARCHAR(300),
    LastSlot TIMESTAMP WITH TIME ZONE,
    PausedBy VARCHAR(100),
    PausedAt TIMESTAMP WITH TIME ZONE,
    PauseReason VARCHAR(500),
    PausedUntil TIMESTAMP WITH TIME ZONE,
    CONSTRAINT PK_c_JobSchedule PRIMARY KEY (JobName)
);

CREATE TABLE c_JobServer (
    Id VARCHAR(100) NOT NULL,
    Name VARCHAR(100) NOT NULL,
    ProcessId INTEGER NOT NULL,
    Queues VARCHAR(500) NOT NULL,
    Workers INTEGER NOT NULL,
    Version VARCHAR(50) NOT NULL,
    StartedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    HeartbeatAt TIMESTAMP WITH TIME ZONE NOT NULL,
    StoppingAt TIMESTAMP WITH TIME ZONE,
    CONSTRAINT PK_c_JobServer PRIMARY KEY (Id)
);

CREATE TABLE c_JobSession (
    TokenHash VARCHAR(64) NOT NULL,
    UserName VARCHAR(100) NOT NULL,
    Role VARCHAR(20) NOT NULL,
    CsrfToken VARCHAR(64) NOT NULL,
    CreatedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    ExpiresAt TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT PK_c_JobSession PRIMARY KEY (TokenHash)
);

CREATE TABLE c_JobStep (
    RunId BIGINT NOT NULL,
    Name VARCHAR(200) NOT NULL,
    ResultJson TEXT NOT NULL,
    Attempt INTEGER NOT NULL,
    CompletedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    DurationMs INTEGER NOT NULL,
    CONSTRAINT PK_c_JobStep PRIMARY KEY (RunId, Name)
);

CREATE TABLE c_JobToken (
    Name VARCHAR(100) NOT NULL,
    TokenHash VARCHAR(64) NOT NULL,
    Role VARCHAR(20) NOT NULL,
    CreatedBy VARCHAR(100) NOT NULL,
    CreatedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    LastUsedAt TIMESTAMP WITH TIME ZONE,
    ExpiresAt TIMESTAMP WITH TIME ZONE,
    CONSTRAINT PK_c_JobToken PRIMARY KEY (Name),
    CONSTRAINT UQ_c_JobToken_TokenHash UNIQUE (TokenHash)
);

CREATE TABLE c_JobUser (
    Name VARCHAR(100) NOT NULL,
    PasswordHash VARCHAR(200) NOT NULL,
    Role VARCHAR(20) NOT NULL,
    CreatedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    LastLoginAt TIMESTAMP WITH TIME ZONE,
    CONSTRAINT PK_c_JobUser PRIMARY KEY (Name)
);

CREATE TABLE c_LoggedJob (
    ID BIGSERIAL NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    JobId VARCHAR(100),
    JobType VARCHAR(50) NOT NULL,
    StartedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    CompletedAt TIMESTAMP WITH TIME ZONE,
    DurationMs INTEGER,
    Success BOOLEAN NOT NULL,
    ResultMessage TEXT,
    ErrorMessage TEXT,
    StackTrace TEXT,
    ServerName VARCHAR(100),
    TriggeredBy VARCHAR(100),
    MemoryUsedMB INTEGER,
    CpuTimeMs INTEGER,
    CreatedAt TIMESTAMP WITH TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL,
    Attempt INTEGER DEFAULT '1' NOT NULL,
    ScheduledFor TIMESTAMP WITH TIME ZONE,
    MetadataJson TEXT,
    CONSTRAINT PK_c_LoggedJob PRIMARY KEY (ID)
);

CREATE INDEX IX_c_LoggedJob_JobName_StartedAt ON c_LoggedJob (JobName, StartedAt DESC);

CREATE INDEX IX_c_LoggedJob_Success ON c_LoggedJob (Success, StartedAt DESC) WHERE Success = false;

INSERT INTO alembic_version (version_num) VALUES ('0001') RETURNING alembic_version.version_num;

COMMIT;
