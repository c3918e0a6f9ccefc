-- Managed by targcc-gen: regenerate merges edits; `targcc-gen eject PATH` makes it yours
-- The scheduler's tables in an empty database, for review; `targcc migrate` creates the tables.
-- For a database with tables of an earlier release: targcc migrate --sql mssql --since REVISION

-- Run the script in SSMS or with: sqlcmd -b -I -i FILE. After an error no table is changed.
SET ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT, CONCAT_NULL_YIELDS_NULL, QUOTED_IDENTIFIER ON;
SET NUMERIC_ROUNDABORT OFF;
SET XACT_ABORT ON;

GO
IF OBJECT_ID(N'c_AlembicVersion') IS NOT NULL
BEGIN
    RAISERROR(N'The scheduler''s tables exist. To upgrade them: targcc migrate --sql mssql --since REVISION', 16, 1);
    SET NOEXEC ON;
END;
GO
BEGIN TRANSACTION;
GO

CREATE TABLE c_AlembicVersion (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT [c_AlembicVersion_pkc] PRIMARY KEY (version_num)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobLogLine_RunId ON c_JobLogLine (RunId);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_Claim ON c_JobRun (State, Queue, Priority DESC, DueAt, Id);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_CreatedAt ON c_JobRun (CreatedAt);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_JobName_Id ON c_JobRun (JobName, Id DESC);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_JobName_State ON c_JobRun (JobName, State);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_State_DueAt ON c_JobRun (State, DueAt);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE UNIQUE INDEX UQ_c_JobRun_Slot ON c_JobRun (JobName, ScheduledFor) WHERE ScheduledFor IS NOT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_LoggedJob_JobName_StartedAt ON c_LoggedJob (JobName, StartedAt DESC);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_LoggedJob_Success ON c_LoggedJob (Success, StartedAt DESC) WHERE Success = 0;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

INSERT INTO c_AlembicVersion (version_num) OUTPUT inserted.version_num VALUES ('0001');
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

-- Running upgrade 0001 -> 0015

ALTER TABLE c_JobRun ADD UnknownSince DATETIME2(6) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD RefusedBy NVARCHAR(max) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD StopNote NVARCHAR(max) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD Cause NVARCHAR(32) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD HandledAt DATETIME2(6) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD HandledBy NVARCHAR(100) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD Handling NVARCHAR(500) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD RetryOf BIGINT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD Ties INTEGER NOT NULL DEFAULT '0';
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD LimitKey NVARCHAR(200) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD Weight INTEGER NOT NULL DEFAULT '1';
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD BatchId BIGINT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD Step NVARCHAR(100) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD ExpiresAt DATETIME2(6) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD UniqueKey NVARCHAR(200) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD Trace NVARCHAR(500) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobRun ADD RoomAt DATETIME2(6) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobSchedule ADD Release NVARCHAR(100) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobServer ADD Release NVARCHAR(100) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobServer ADD Fingerprint NVARCHAR(64) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobServer ADD ClockOffsetMs INTEGER NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobServer ADD StuckSince DATETIME2(6) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobServer ADD StuckIn NVARCHAR(max) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobServer ADD DrainRequestedBy NVARCHAR(100) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobServer ADD DrainRequestedAt DATETIME2(6) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobAudit ADD Seq BIGINT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobAudit ADD Hash NVARCHAR(64) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobSession ADD Device NVARCHAR(200) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobSession ADD RemoteAddress NVARCHAR(100) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobSession ADD LastSeenAt DATETIME2(6) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobToken ADD Prefix NVARCHAR(20) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobToken ADD Account NVARCHAR(100) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobToken ADD JobsJson NVARCHAR(max) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobUser ADD TotpSecret NVARCHAR(500) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobUser ADD TotpStep BIGINT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

ALTER TABLE c_JobUser ADD RecoveryJson NVARCHAR(max) NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobAlertThread (
    Thread NVARCHAR(100) NOT NULL,
    Kind NVARCHAR(20) NOT NULL,
    JobName NVARCHAR(100) NOT NULL,
    About NVARCHAR(200) NOT NULL,
    Title NVARCHAR(300) NOT NULL,
    FirstAt DATETIME2(6) NOT NULL,
    LastAt DATETIME2(6) NOT NULL,
    FirstRunId BIGINT NULL,
    LastRunId BIGINT NULL,
    Number INTEGER NOT NULL,
    TargetsJson NVARCHAR(max) NOT NULL,
    EscalatesFrom DATETIME2(6) NULL,
    Step INTEGER NOT NULL DEFAULT '0',
    CONSTRAINT PK_c_JobAlertThread PRIMARY KEY (Thread)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobBatch (
    Id BIGINT NOT NULL IDENTITY,
    Name NVARCHAR(200) NOT NULL,
    Kind NVARCHAR(10) NOT NULL,
    State NVARCHAR(20) NOT NULL,
    CreatedBy NVARCHAR(100) NOT NULL,
    CreatedAt DATETIME2(6) NOT NULL,
    CompletedAt DATETIME2(6) NULL,
    ParentId BIGINT NULL,
    Total INTEGER NOT NULL DEFAULT '0',
    Pending INTEGER NOT NULL DEFAULT '0',
    Failed INTEGER NOT NULL DEFAULT '0',
    CancelledBy NVARCHAR(100) NULL,
    DefinitionJson NVARCHAR(max) NULL,
    ArgumentsJson NVARCHAR(max) NULL,
    CONSTRAINT PK_c_JobBatch PRIMARY KEY (Id)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobBlob (
    Id NVARCHAR(32) NOT NULL,
    RunId BIGINT NULL,
    Kind NVARCHAR(20) NOT NULL,
    Name NVARCHAR(200) NOT NULL,
    ContentType NVARCHAR(100) NOT NULL,
    Size BIGINT NOT NULL,
    Sha256 NVARCHAR(64) NOT NULL,
    Store NVARCHAR(50) NULL,
    Reference NVARCHAR(500) NULL,
    Data IMAGE NULL,
    CreatedAt DATETIME2(6) NOT NULL,
    CONSTRAINT PK_c_JobBlob PRIMARY KEY (Id)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobBulkRun (
    BulkId BIGINT NOT NULL,
    RunId BIGINT NOT NULL,
    NewRunId BIGINT NULL,
    Previous NVARCHAR(100) NULL,
    CONSTRAINT PK_c_JobBulkRun PRIMARY KEY (BulkId, RunId)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobConcern (
    Subject NVARCHAR(200) NOT NULL,
    Kind NVARCHAR(30) NOT NULL,
    Since DATETIME2(6) NOT NULL,
    Detail NVARCHAR(max) NOT NULL,
    CONSTRAINT PK_c_JobConcern PRIMARY KEY (Subject, Kind)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobDelivery (
    Id BIGINT NOT NULL IDENTITY,
    WebhookId INTEGER NOT NULL,
    MessageId NVARCHAR(50) NOT NULL,
    Event NVARCHAR(30) NOT NULL,
    RunId BIGINT NULL,
    Body NVARCHAR(max) NOT NULL,
    Status NVARCHAR(10) NOT NULL,
    Attempts INTEGER NOT NULL DEFAULT '0',
    DueAt DATETIME2(6) NULL,
    Answer NVARCHAR(200) NULL,
    CreatedAt DATETIME2(6) NOT NULL,
    EndedAt DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobDelivery PRIMARY KEY (Id),
    CONSTRAINT UQ_c_JobDelivery_MessageId UNIQUE (MessageId)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobIdempotency (
    IdempotencyKey NVARCHAR(200) NOT NULL,
    JobName NVARCHAR(100) NOT NULL,
    RunId BIGINT NOT NULL,
    Digest NVARCHAR(64) NOT NULL,
    CreatedAt DATETIME2(6) NOT NULL,
    CONSTRAINT PK_c_JobIdempotency PRIMARY KEY (IdempotencyKey)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobLimit (
    LimitKey NVARCHAR(200) NOT NULL,
    JobName NVARCHAR(100) NULL,
    Most INTEGER NULL,
    IntervalMs FLOAT NULL,
    Burst INTEGER NULL,
    NextAt DATETIME2(6) NULL,
    WakeId BIGINT NULL,
    UpdatedAt DATETIME2(6) NOT NULL,
    Version BIGINT NOT NULL DEFAULT '0',
    IsAwaited BIT NOT NULL DEFAULT 0,
    CONSTRAINT PK_c_JobLimit PRIMARY KEY (LimitKey)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobLink (
    ChildId BIGINT NOT NULL,
    ParentKind NVARCHAR(10) NOT NULL,
    ParentId BIGINT NOT NULL,
    Condition NVARCHAR(10) NOT NULL,
    Quorum NVARCHAR(10) NOT NULL,
    Otherwise NVARCHAR(10) NOT NULL,
    Outcome NVARCHAR(20) NULL,
    CONSTRAINT PK_c_JobLink PRIMARY KEY (ChildId, ParentKind, ParentId)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobMaintenance (
    Id BIGINT NOT NULL IDENTITY,
    StartsAt DATETIME2(6) NOT NULL,
    EndsAt DATETIME2(6) NOT NULL,
    Queues NVARCHAR(500) NOT NULL,
    Reason NVARCHAR(500) NOT NULL,
    PlannedBy NVARCHAR(100) NOT NULL,
    PlannedAt DATETIME2(6) NOT NULL,
    EndedBy NVARCHAR(100) NULL,
    CONSTRAINT PK_c_JobMaintenance PRIMARY KEY (Id)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobNotice (
    Id BIGINT NOT NULL IDENTITY,
    NoticeKey NVARCHAR(200) NOT NULL,
    JobName NVARCHAR(100) NOT NULL,
    Channel NVARCHAR(50) NOT NULL,
    Target NVARCHAR(max) NOT NULL,
    FromCode BIT NOT NULL,
    NoticeJson NVARCHAR(max) NOT NULL,
    DueAt DATETIME2(6) NOT NULL,
    Tries INTEGER NOT NULL DEFAULT '0',
    ClaimedBy NVARCHAR(32) NULL,
    ClaimedUntil DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobNotice PRIMARY KEY (Id)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobOverride (
    JobName NVARCHAR(100) NOT NULL,
    Field NVARCHAR(30) NOT NULL,
    ValueJson NVARCHAR(max) NOT NULL,
    SetBy NVARCHAR(100) NOT NULL,
    SetAt DATETIME2(6) NOT NULL,
    Reason NVARCHAR(500) NOT NULL,
    EndsAt DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobOverride PRIMARY KEY (JobName, Field)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobOwner (
    JobName NVARCHAR(100) NOT NULL,
    Owner NVARCHAR(10) NOT NULL,
    OldKey NVARCHAR(50) NULL,
    Runner NVARCHAR(50) NULL,
    Since DATETIME2(6) NOT NULL,
    ChangedBy NVARCHAR(100) NOT NULL,
    Reason NVARCHAR(500) NULL,
    Step NVARCHAR(20) NULL,
    Mark NVARCHAR(50) NULL,
    NextSlot DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobOwner PRIMARY KEY (JobName)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobRequest (
    Scope NVARCHAR(64) NOT NULL,
    RequestKey NVARCHAR(200) NOT NULL,
    Digest NVARCHAR(64) NOT NULL,
    Status INTEGER NULL,
    Body NVARCHAR(max) NULL,
    BegunAt DATETIME2(6) NOT NULL,
    CONSTRAINT PK_c_JobRequest PRIMARY KEY (Scope, RequestKey)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobRole (
    Name NVARCHAR(20) NOT NULL,
    GrantsJson NVARCHAR(max) NOT NULL,
    CONSTRAINT PK_c_JobRole PRIMARY KEY (Name)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobSetting (
    Name NVARCHAR(100) NOT NULL,
    Value NVARCHAR(max) NOT NULL,
    UpdatedAt DATETIME2(6) NOT NULL,
    CONSTRAINT PK_c_JobSetting PRIMARY KEY (Name)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobShadow (
    JobName NVARCHAR(100) NOT NULL,
    Slot DATETIME2(6) NOT NULL,
    CONSTRAINT PK_c_JobShadow PRIMARY KEY (JobName, Slot)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
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
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobTextDue (
    RunId BIGINT NOT NULL,
    CONSTRAINT PK_c_JobTextDue PRIMARY KEY (RunId)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobUnique (
    JobName NVARCHAR(100) NOT NULL,
    UniqueKey NVARCHAR(200) NOT NULL,
    RunId BIGINT NOT NULL,
    Scope NVARCHAR(20) NOT NULL,
    Until DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobUnique PRIMARY KEY (JobName, UniqueKey)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobView (
    Person NVARCHAR(100) NOT NULL,
    Name NVARCHAR(100) NOT NULL,
    Search NVARCHAR(2000) NOT NULL,
    CONSTRAINT PK_c_JobView PRIMARY KEY (Person, Name)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE TABLE c_JobWebhook (
    Id INTEGER NOT NULL IDENTITY,
    Shown NVARCHAR(200) NOT NULL,
    SealedJson NVARCHAR(max) NOT NULL,
    Events NVARCHAR(200) NOT NULL,
    Jobs NVARCHAR(1000) NOT NULL,
    CreatedBy NVARCHAR(100) NOT NULL,
    CreatedAt DATETIME2(6) NOT NULL,
    DisabledAt DATETIME2(6) NULL,
    DisabledBy NVARCHAR(100) NULL,
    FailingSince DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobWebhook PRIMARY KEY (Id)
);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_LoggedJob_JobId ON c_LoggedJob (JobId);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_LoggedJob_JobName_ID ON c_LoggedJob (JobName, ID);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_LoggedJob_StartedAt ON c_LoggedJob (StartedAt, ID);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_CompletedAt ON c_JobRun (CompletedAt, Id);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_State_Id ON c_JobRun (State, Id DESC);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_JobName_State_Id ON c_JobRun (JobName, State, Id DESC);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_UnknownSince ON c_JobRun (UnknownSince) WHERE UnknownSince IS NOT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_Cause ON c_JobRun (Cause, CompletedAt) WHERE Cause IS NOT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_Open ON c_JobRun (Cause, Id) WHERE Cause IS NOT NULL AND HandledAt IS NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_RetryOf ON c_JobRun (State, RetryOf) WHERE RetryOf IS NOT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_BatchId ON c_JobRun (BatchId, State) WHERE BatchId IS NOT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_LimitKey ON c_JobRun (LimitKey, State, Priority DESC, DueAt, Id) WHERE LimitKey IS NOT NULL AND CompletedAt IS NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_ExpiresAt ON c_JobRun (ExpiresAt) WHERE ExpiresAt IS NOT NULL AND CompletedAt IS NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_RoomAt ON c_JobRun (LimitKey) WHERE RoomAt IS NOT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_Step ON c_JobRun (BatchId, Step, State) WHERE Step IS NOT NULL AND CompletedAt IS NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobAudit_RunId ON c_JobAudit (RunId);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobAudit_JobName_Id ON c_JobAudit (JobName, Id DESC);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobAudit_At ON c_JobAudit (At, Id);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobAudit_Unsealed ON c_JobAudit (Id) WHERE Seq IS NULL AND Hash IS NOT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobStat_BeginsAt ON c_JobStat (BeginsAt);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobDelivery_DueAt ON c_JobDelivery (DueAt) WHERE DueAt IS NOT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobDelivery_WebhookId_Id ON c_JobDelivery (WebhookId, Id DESC);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobBatch_ParentId ON c_JobBatch (ParentId);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobBatch_State ON c_JobBatch (State, Id);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobLink_Parent ON c_JobLink (ParentKind, ParentId);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobUnique_RunId ON c_JobUnique (RunId);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobIdempotency_RunId ON c_JobIdempotency (RunId);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobBlob_RunId ON c_JobBlob (RunId);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE UNIQUE INDEX UQ_c_JobNotice_Key ON c_JobNotice (NoticeKey);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE UNIQUE INDEX UQ_c_JobAudit_Seq ON c_JobAudit (Seq) WHERE Seq IS NOT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

DROP INDEX IX_c_JobRun_JobName_State ON c_JobRun;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt) SELECT 'uncounted attempts', CAST(Newest AS VARCHAR(20)), SYSUTCDATETIME() FROM (SELECT max(ID) AS Newest FROM c_LoggedJob) AS found WHERE Newest IS NOT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt) SELECT 'uncounted runs', CAST(Newest AS VARCHAR(20)), SYSUTCDATETIME() FROM (SELECT max(Id) AS Newest FROM c_JobRun) AS found WHERE Newest IS NOT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

UPDATE c_AlembicVersion SET version_num='0015' WHERE c_AlembicVersion.version_num = '0001';
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

-- Running upgrade 0015 -> 0016

CREATE INDEX IX_c_JobRun_Waiting ON c_JobRun (State, JobName, Priority DESC, DueAt, Id) WHERE CompletedAt IS NULL AND Queue <> '';
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

DROP INDEX IX_c_JobRun_CompletedAt ON c_JobRun;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

CREATE INDEX IX_c_JobRun_CompletedAt ON c_JobRun (CompletedAt, Id) WHERE CompletedAt IS NOT NULL;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt) VALUES ('oldest_code 0016', '0015', SYSUTCDATETIME());
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

UPDATE c_AlembicVersion SET version_num='0016' WHERE c_AlembicVersion.version_num = '0015';
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back
GO

COMMIT;
GO
SET NOEXEC OFF;
GO
