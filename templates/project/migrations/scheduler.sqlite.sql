-- Managed by targcc-gen: regenerate merges edits; `targcc-gen eject PATH` makes it yours
-- The scheduler's tables in an empty database, for review; `targcc migrate` creates the tables.
-- For a database with tables of an earlier release: targcc migrate --sql sqlite --since REVISION

CREATE TABLE c_AlembicVersion (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT "c_AlembicVersion_pkc" PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

CREATE TABLE c_JobAlert (
    ID INTEGER NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    AlertOnFailure BOOLEAN DEFAULT 1 NOT NULL,
    AlertOnSuccess BOOLEAN DEFAULT 0 NOT NULL,
    AlertOnDurationExceeds INTEGER,
    EmailRecipients VARCHAR(500),
    SlackWebhook VARCHAR(500),
    TeamsWebhook VARCHAR(500),
    MaxAlertsPerHour INTEGER,
    LastAlertSent DATETIME,
    CONSTRAINT PK_c_JobAlert PRIMARY KEY (ID),
    CONSTRAINT UQ_c_JobAlert_JobName UNIQUE (JobName)
);

CREATE TABLE c_JobAudit (
    Id INTEGER NOT NULL,
    At DATETIME NOT NULL,
    Actor VARCHAR(100) NOT NULL,
    Action VARCHAR(50) NOT NULL,
    JobName VARCHAR(100),
    RunId BIGINT,
    Detail TEXT,
    RemoteAddress VARCHAR(100),
    CONSTRAINT PK_c_JobAudit PRIMARY KEY (Id)
);

CREATE TABLE c_JobLogLine (
    Id INTEGER NOT NULL,
    RunId BIGINT NOT NULL,
    Attempt INTEGER NOT NULL,
    At DATETIME NOT NULL,
    Level VARCHAR(10) NOT NULL,
    Message TEXT NOT NULL,
    CONSTRAINT PK_c_JobLogLine PRIMARY KEY (Id)
);

CREATE INDEX IX_c_JobLogLine_RunId ON c_JobLogLine (RunId);

CREATE TABLE c_JobQueue (
    Name VARCHAR(50) NOT NULL,
    PausedBy VARCHAR(100),
    PausedAt DATETIME,
    PauseReason VARCHAR(500),
    PausedUntil DATETIME,
    CONSTRAINT PK_c_JobQueue PRIMARY KEY (Name)
);

CREATE TABLE c_JobRun (
    Id INTEGER NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    JobType VARCHAR(50) NOT NULL,
    State VARCHAR(20) NOT NULL,
    Queue VARCHAR(50) NOT NULL,
    Priority INTEGER DEFAULT '0' NOT NULL,
    ArgumentsJson TEXT,
    ScheduledFor DATETIME,
    DueAt DATETIME NOT NULL,
    CreatedAt DATETIME NOT NULL,
    StartedAt DATETIME,
    CompletedAt DATETIME,
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
    LastSlot DATETIME,
    PausedBy VARCHAR(100),
    PausedAt DATETIME,
    PauseReason VARCHAR(500),
    PausedUntil DATETIME,
    CONSTRAINT PK_c_JobSchedule PRIMARY KEY (JobName)
);

CREATE TABLE c_JobServer (
    Id VARCHAR(100) NOT NULL,
    Name VARCHAR(100) NOT NULL,
    ProcessId INTEGER NOT NULL,
    Queues VARCHAR(500) NOT NULL,
    Workers INTEGER NOT NULL,
    Version VARCHAR(50) NOT NULL,
    StartedAt DATETIME NOT NULL,
    HeartbeatAt DATETIME NOT NULL,
    StoppingAt DATETIME,
    CONSTRAINT PK_c_JobServer PRIMARY KEY (Id)
);

CREATE TABLE c_JobSession (
    TokenHash VARCHAR(64) NOT NULL,
    UserName VARCHAR(100) NOT NULL,
    Role VARCHAR(20) NOT NULL,
    CsrfToken VARCHAR(64) NOT NULL,
    CreatedAt DATETIME NOT NULL,
    ExpiresAt DATETIME NOT NULL,
    CONSTRAINT PK_c_JobSession PRIMARY KEY (TokenHash)
);

CREATE TABLE c_JobStep (
    RunId BIGINT NOT NULL,
    Name VARCHAR(200) NOT NULL,
    ResultJson TEXT NOT NULL,
    Attempt INTEGER NOT NULL,
    CompletedAt DATETIME NOT NULL,
    DurationMs INTEGER NOT NULL,
    CONSTRAINT PK_c_JobStep PRIMARY KEY (RunId, Name)
);

CREATE TABLE c_JobToken (
    Name VARCHAR(100) NOT NULL,
    TokenHash VARCHAR(64) NOT NULL,
    Role VARCHAR(20) NOT NULL,
    CreatedBy VARCHAR(100) NOT NULL,
    CreatedAt DATETIME NOT NULL,
    LastUsedAt DATETIME,
    ExpiresAt DATETIME,
    CONSTRAINT PK_c_JobToken PRIMARY KEY (Name),
    CONSTRAINT UQ_c_JobToken_TokenHash UNIQUE (TokenHash)
);

CREATE TABLE c_JobUser (
    Name VARCHAR(100) NOT NULL,
    PasswordHash VARCHAR(200) NOT NULL,
    Role VARCHAR(20) NOT NULL,
    CreatedAt DATETIME NOT NULL,
    LastLoginAt DATETIME,
    CONSTRAINT PK_c_JobUser PRIMARY KEY (Name)
);

CREATE TABLE c_LoggedJob (
    ID INTEGER NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    JobId VARCHAR(100),
    JobType VARCHAR(50) NOT NULL,
    StartedAt DATETIME NOT NULL,
    CompletedAt DATETIME,
    DurationMs INTEGER,
    Success BOOLEAN NOT NULL,
    ResultMessage TEXT,
    ErrorMessage TEXT,
    StackTrace TEXT,
    ServerName VARCHAR(100),
    TriggeredBy VARCHAR(100),
    MemoryUsedMB INTEGER,
    CpuTimeMs INTEGER,
    CreatedAt DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL,
    Attempt INTEGER DEFAULT '1' NOT NULL,
    ScheduledFor DATETIME,
    MetadataJson TEXT,
    CONSTRAINT PK_c_LoggedJob PRIMARY KEY (ID)
);

CREATE INDEX IX_c_LoggedJob_JobName_StartedAt ON c_LoggedJob (JobName, StartedAt DESC);

CREATE INDEX IX_c_LoggedJob_Success ON c_LoggedJob (Success, StartedAt DESC) WHERE Success = 0;

INSERT INTO c_AlembicVersion (version_num) VALUES ('0001') RETURNING version_num;

-- Running upgrade 0001 -> 0015

ALTER TABLE c_JobRun ADD COLUMN UnknownSince DATETIME;

ALTER TABLE c_JobRun ADD COLUMN RefusedBy TEXT;

ALTER TABLE c_JobRun ADD COLUMN StopNote TEXT;

ALTER TABLE c_JobRun ADD COLUMN Cause VARCHAR(32);

ALTER TABLE c_JobRun ADD COLUMN HandledAt DATETIME;

ALTER TABLE c_JobRun ADD COLUMN HandledBy VARCHAR(100);

ALTER TABLE c_JobRun ADD COLUMN Handling VARCHAR(500);

ALTER TABLE c_JobRun ADD COLUMN RetryOf BIGINT;

ALTER TABLE c_JobRun ADD COLUMN Ties INTEGER DEFAULT '0' NOT NULL;

ALTER TABLE c_JobRun ADD COLUMN LimitKey VARCHAR(200);

ALTER TABLE c_JobRun ADD COLUMN Weight INTEGER DEFAULT '1' NOT NULL;

ALTER TABLE c_JobRun ADD COLUMN BatchId BIGINT;

ALTER TABLE c_JobRun ADD COLUMN Step VARCHAR(100);

ALTER TABLE c_JobRun ADD COLUMN ExpiresAt DATETIME;

ALTER TABLE c_JobRun ADD COLUMN UniqueKey VARCHAR(200);

ALTER TABLE c_JobRun ADD COLUMN Trace VARCHAR(500);

ALTER TABLE c_JobRun ADD COLUMN RoomAt DATETIME;

ALTER TABLE c_JobSchedule ADD COLUMN Release VARCHAR(100);

ALTER TABLE c_JobServer ADD COLUMN Release VARCHAR(100);

ALTER TABLE c_JobServer ADD COLUMN Fingerprint VARCHAR(64);

ALTER TABLE c_JobServer ADD COLUMN ClockOffsetMs INTEGER;

ALTER TABLE c_JobServer ADD COLUMN StuckSince DATETIME;

ALTER TABLE c_JobServer ADD COLUMN StuckIn TEXT;

ALTER TABLE c_JobServer ADD COLUMN DrainRequestedBy VARCHAR(100);

ALTER TABLE c_JobServer ADD COLUMN DrainRequestedAt DATETIME;

ALTER TABLE c_JobAudit ADD COLUMN Seq BIGINT;

ALTER TABLE c_JobAudit ADD COLUMN Hash VARCHAR(64);

ALTER TABLE c_JobSession ADD COLUMN Device VARCHAR(200);

ALTER TABLE c_JobSession ADD COLUMN RemoteAddress VARCHAR(100);

ALTER TABLE c_JobSession ADD COLUMN LastSeenAt DATETIME;

ALTER TABLE c_JobToken ADD COLUMN Prefix VARCHAR(20);

ALTER TABLE c_JobToken ADD COLUMN Account VARCHAR(100);

ALTER TABLE c_JobToken ADD COLUMN JobsJson TEXT;

ALTER TABLE c_JobUser ADD COLUMN TotpSecret VARCHAR(500);

ALTER TABLE c_JobUser ADD COLUMN TotpStep BIGINT;

ALTER TABLE c_JobUser ADD COLUMN RecoveryJson TEXT;

CREATE TABLE c_JobAlertThread (
    Thread VARCHAR(100) NOT NULL,
    Kind VARCHAR(20) NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    About VARCHAR(200) NOT NULL,
    Title VARCHAR(300) NOT NULL,
    FirstAt DATETIME NOT NULL,
    LastAt DATETIME NOT NULL,
    FirstRunId BIGINT,
    LastRunId BIGINT,
    Number INTEGER NOT NULL,
    TargetsJson TEXT NOT NULL,
    EscalatesFrom DATETIME,
    Step INTEGER DEFAULT '0' NOT NULL,
    CONSTRAINT PK_c_JobAlertThread PRIMARY KEY (Thread)
);

CREATE TABLE c_JobBatch (
    Id INTEGER NOT NULL,
    Name VARCHAR(200) NOT NULL,
    Kind VARCHAR(10) NOT NULL,
    State VARCHAR(20) NOT NULL,
    CreatedBy VARCHAR(100) NOT NULL,
    CreatedAt DATETIME NOT NULL,
    CompletedAt DATETIME,
    ParentId BIGINT,
    Total INTEGER DEFAULT '0' NOT NULL,
    Pending INTEGER DEFAULT '0' NOT NULL,
    Failed INTEGER DEFAULT '0' NOT NULL,
    CancelledBy VARCHAR(100),
    DefinitionJson TEXT,
    ArgumentsJson TEXT,
    CONSTRAINT PK_c_JobBatch PRIMARY KEY (Id)
);

CREATE TABLE c_JobBlob (
    Id VARCHAR(32) NOT NULL,
    RunId BIGINT,
    Kind VARCHAR(20) NOT NULL,
    Name VARCHAR(200) NOT NULL,
    ContentType VARCHAR(100) NOT NULL,
    Size BIGINT NOT NULL,
    Sha256 VARCHAR(64) NOT NULL,
    Store VARCHAR(50),
    Reference VARCHAR(500),
    Data BLOB,
    CreatedAt DATETIME NOT NULL,
    CONSTRAINT PK_c_JobBlob PRIMARY KEY (Id)
);

CREATE TABLE c_JobBulk (
    Id INTEGER NOT NULL,
    Action VARCHAR(20) NOT NULL,
    FilterJson TEXT NOT NULL,
    OptionsJson TEXT NOT NULL,
    Status VARCHAR(20) NOT NULL,
    Total INTEGER NOT NULL,
    Done INTEGER DEFAULT '0' NOT NULL,
    Refused INTEGER DEFAULT '0' NOT NULL,
    Place BIGINT,
    Ceiling BIGINT NOT NULL,
    Actor VARCHAR(100) NOT NULL,
    StartedAt DATETIME NOT NULL,
    EndedAt DATETIME,
    Undoes BIGINT,
    Message TEXT,
    CONSTRAINT PK_c_JobBulk PRIMARY KEY (Id)
);

CREATE TABLE c_JobBulkRun (
    BulkId BIGINT NOT NULL,
    RunId BIGINT NOT NULL,
    NewRunId BIGINT,
    Previous VARCHAR(100),
    CONSTRAINT PK_c_JobBulkRun PRIMARY KEY (BulkId, RunId)
);

CREATE TABLE c_JobConcern (
    Subject VARCHAR(200) NOT NULL,
    Kind VARCHAR(30) NOT NULL,
    Since DATETIME NOT NULL,
    Detail TEXT NOT NULL,
    CONSTRAINT PK_c_JobConcern PRIMARY KEY (Subject, Kind)
);

CREATE TABLE c_JobDelivery (
    Id INTEGER NOT NULL,
    WebhookId INTEGER NOT NULL,
    MessageId VARCHAR(50) NOT NULL,
    Event VARCHAR(30) NOT NULL,
    RunId BIGINT,
    Body TEXT NOT NULL,
    Status VARCHAR(10) NOT NULL,
    Attempts INTEGER DEFAULT '0' NOT NULL,
    DueAt DATETIME,
    Answer VARCHAR(200),
    CreatedAt DATETIME NOT NULL,
    EndedAt DATETIME,
    CONSTRAINT PK_c_JobDelivery PRIMARY KEY (Id),
    CONSTRAINT UQ_c_JobDelivery_MessageId UNIQUE (MessageId)
);

CREATE TABLE c_JobFailure (
    Cause VARCHAR(32) NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    Kind VARCHAR(200) NOT NULL,
    Place VARCHAR(300),
    Message TEXT,
    FirstAt DATETIME NOT NULL,
    FirstRunId BIGINT,
    FirstRelease VARCHAR(100),
    SnoozedBy VARCHAR(100),
    SnoozedUntil DATETIME,
    Note VARCHAR(1000),
    MutedBy VARCHAR(100),
    MutedAt DATETIME,
    Assignee VARCHAR(100),
    Ticket VARCHAR(500),
    CONSTRAINT PK_c_JobFailure PRIMARY KEY (Cause)
);

CREATE TABLE c_JobIdempotency (
    IdempotencyKey VARCHAR(200) NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    RunId BIGINT NOT NULL,
    Digest VARCHAR(64) NOT NULL,
    CreatedAt DATETIME NOT NULL,
    CONSTRAINT PK_c_JobIdempotency PRIMARY KEY (IdempotencyKey)
);

CREATE TABLE c_JobLimit (
    LimitKey VARCHAR(200) NOT NULL,
    JobName VARCHAR(100),
    Most INTEGER,
    IntervalMs FLOAT,
    Burst INTEGER,
    NextAt DATETIME,
    WakeId BIGINT,
    UpdatedAt DATETIME NOT NULL,
    Version BIGINT DEFAULT '0' NOT NULL,
    IsAwaited BOOLEAN DEFAULT 0 NOT NULL,
    CONSTRAINT PK_c_JobLimit PRIMARY KEY (LimitKey)
);

CREATE TABLE c_JobLink (
    ChildId BIGINT NOT NULL,
    ParentKind VARCHAR(10) NOT NULL,
    ParentId BIGINT NOT NULL,
    Condition VARCHAR(10) NOT NULL,
    Quorum VARCHAR(10) NOT NULL,
    Otherwise VARCHAR(10) NOT NULL,
    Outcome VARCHAR(20),
    CONSTRAINT PK_c_JobLink PRIMARY KEY (ChildId, ParentKind, ParentId)
);

CREATE TABLE c_JobMaintenance (
    Id INTEGER NOT NULL,
    StartsAt DATETIME NOT NULL,
    EndsAt DATETIME NOT NULL,
    Queues VARCHAR(500) NOT NULL,
    Reason VARCHAR(500) NOT NULL,
    PlannedBy VARCHAR(100) NOT NULL,
    PlannedAt DATETIME NOT NULL,
    EndedBy VARCHAR(100),
    CONSTRAINT PK_c_JobMaintenance PRIMARY KEY (Id)
);

CREATE TABLE c_JobNotice (
    Id INTEGER NOT NULL,
    NoticeKey VARCHAR(200) NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    Channel VARCHAR(50) NOT NULL,
    Target TEXT NOT NULL,
    FromCode BOOLEAN NOT NULL,
    NoticeJson TEXT NOT NULL,
    DueAt DATETIME NOT NULL,
    Tries INTEGER DEFAULT '0' NOT NULL,
    ClaimedBy VARCHAR(32),
    ClaimedUntil DATETIME,
    CONSTRAINT PK_c_JobNotice PRIMARY KEY (Id)
);

CREATE TABLE c_JobOverride (
    JobName VARCHAR(100) NOT NULL,
    Field VARCHAR(30) NOT NULL,
    ValueJson TEXT NOT NULL,
    SetBy VARCHAR(100) NOT NULL,
    SetAt DATETIME NOT NULL,
    Reason VARCHAR(500) NOT NULL,
    EndsAt DATETIME,
    CONSTRAINT PK_c_JobOverride PRIMARY KEY (JobName, Field)
);

CREATE TABLE c_JobOwner (
    JobName VARCHAR(100) NOT NULL,
    Owner VARCHAR(10) NOT NULL,
    OldKey VARCHAR(50),
    Runner VARCHAR(50),
    Since DATETIME NOT NULL,
    ChangedBy VARCHAR(100) NOT NULL,
    Reason VARCHAR(500),
    Step VARCHAR(20),
    Mark VARCHAR(50),
    NextSlot DATETIME,
    CONSTRAINT PK_c_JobOwner PRIMARY KEY (JobName)
);

CREATE TABLE c_JobRelease (
    Release VARCHAR(100) NOT NULL,
    Fingerprint VARCHAR(64) NOT NULL,
    FirstSeenAt DATETIME NOT NULL,
    ChosenBy VARCHAR(100),
    ChosenAt DATETIME,
    CONSTRAINT PK_c_JobRelease PRIMARY KEY (Release)
);

CREATE TABLE c_JobRequest (
    Scope VARCHAR(64) NOT NULL,
    RequestKey VARCHAR(200) NOT NULL,
    Digest VARCHAR(64) NOT NULL,
    Status INTEGER,
    Body TEXT,
    BegunAt DATETIME NOT NULL,
    CONSTRAINT PK_c_JobRequest PRIMARY KEY (Scope, RequestKey)
);

CREATE TABLE c_JobRole (
    Name VARCHAR(20) NOT NULL,
    GrantsJson TEXT NOT NULL,
    CONSTRAINT PK_c_JobRole PRIMARY KEY (Name)
);

CREATE TABLE c_JobSetting (
    Name VARCHAR(100) NOT NULL,
    Value TEXT NOT NULL,
    UpdatedAt DATETIME NOT NULL,
    CONSTRAINT PK_c_JobSetting PRIMARY KEY (Name)
);

CREATE TABLE c_JobShadow (
    JobName VARCHAR(100) NOT NULL,
    Slot DATETIME NOT NULL,
    CONSTRAINT PK_c_JobShadow PRIMARY KEY (JobName, Slot)
);

CREATE TABLE c_JobStat (
    JobName VARCHAR(100) NOT NULL,
    BeginsAt DATETIME NOT NULL,
    Outcome VARCHAR(20) NOT NULL,
    Bucket INTEGER NOT NULL,
    Shard INTEGER NOT NULL,
    Count INTEGER NOT NULL,
    Retried INTEGER DEFAULT '0' NOT NULL,
    SumMs BIGINT DEFAULT '0' NOT NULL,
    MaxMs INTEGER DEFAULT '0' NOT NULL,
    CONSTRAINT PK_c_JobStat PRIMARY KEY (JobName, BeginsAt, Outcome, Bucket, Shard)
);

CREATE TABLE c_JobTextDue (
    RunId INTEGER NOT NULL,
    CONSTRAINT PK_c_JobTextDue PRIMARY KEY (RunId)
);

CREATE TABLE c_JobUnique (
    JobName VARCHAR(100) NOT NULL,
    UniqueKey VARCHAR(200) NOT NULL,
    RunId BIGINT NOT NULL,
    Scope VARCHAR(20) NOT NULL,
    Until DATETIME,
    CONSTRAINT PK_c_JobUnique PRIMARY KEY (JobName, UniqueKey)
);

CREATE TABLE c_JobView (
    Person VARCHAR(100) NOT NULL,
    Name VARCHAR(100) NOT NULL,
    Search VARCHAR(2000) NOT NULL,
    CONSTRAINT PK_c_JobView PRIMARY KEY (Person, Name)
);

CREATE TABLE c_JobWebhook (
    Id INTEGER NOT NULL,
    Shown VARCHAR(200) NOT NULL,
    SealedJson TEXT NOT NULL,
    Events VARCHAR(200) NOT NULL,
    Jobs VARCHAR(1000) NOT NULL,
    CreatedBy VARCHAR(100) NOT NULL,
    CreatedAt DATETIME NOT NULL,
    DisabledAt DATETIME,
    DisabledBy VARCHAR(100),
    FailingSince DATETIME,
    CONSTRAINT PK_c_JobWebhook PRIMARY KEY (Id)
);

CREATE INDEX IX_c_LoggedJob_JobId ON c_LoggedJob (JobId);

CREATE INDEX IX_c_LoggedJob_JobName_ID ON c_LoggedJob (JobName, ID);

CREATE INDEX IX_c_LoggedJob_StartedAt ON c_LoggedJob (StartedAt, ID);

CREATE INDEX IX_c_JobRun_CompletedAt ON c_JobRun (CompletedAt, Id);

CREATE INDEX IX_c_JobRun_State_Id ON c_JobRun (State, Id DESC);

CREATE INDEX IX_c_JobRun_JobName_State_Id ON c_JobRun (JobName, State, Id DESC);

CREATE INDEX IX_c_JobRun_UnknownSince ON c_JobRun (UnknownSince) WHERE UnknownSince IS NOT NULL;

CREATE INDEX IX_c_JobRun_Cause ON c_JobRun (Cause, CompletedAt) WHERE Cause IS NOT NULL;

CREATE INDEX IX_c_JobRun_Open ON c_JobRun (Cause, Id) WHERE Cause IS NOT NULL AND HandledAt IS NULL;

CREATE INDEX IX_c_JobRun_RetryOf ON c_JobRun (State, RetryOf) WHERE RetryOf IS NOT NULL;

CREATE INDEX IX_c_JobRun_BatchId ON c_JobRun (BatchId, State) WHERE BatchId IS NOT NULL;

CREATE INDEX IX_c_JobRun_LimitKey ON c_JobRun (LimitKey, State, Priority DESC, DueAt, Id) WHERE LimitKey IS NOT NULL AND CompletedAt IS NULL;

CREATE INDEX IX_c_JobRun_ExpiresAt ON c_JobRun (ExpiresAt) WHERE ExpiresAt IS NOT NULL AND CompletedAt IS NULL;

CREATE INDEX IX_c_JobRun_RoomAt ON c_JobRun (LimitKey) WHERE RoomAt IS NOT NULL;

CREATE INDEX IX_c_JobRun_Step ON c_JobRun (BatchId, Step, State) WHERE Step IS NOT NULL AND CompletedAt IS NULL;

CREATE INDEX IX_c_JobAudit_RunId ON c_JobAudit (RunId);

CREATE INDEX IX_c_JobAudit_JobName_Id ON c_JobAudit (JobName, Id DESC);

CREATE INDEX IX_c_JobAudit_At ON c_JobAudit (At, Id);

CREATE INDEX IX_c_JobAudit_Unsealed ON c_JobAudit (Id) WHERE Seq IS NULL AND Hash IS NOT NULL;

CREATE INDEX IX_c_JobStat_BeginsAt ON c_JobStat (BeginsAt);

CREATE INDEX IX_c_JobDelivery_DueAt ON c_JobDelivery (DueAt) WHERE DueAt IS NOT NULL;

CREATE INDEX IX_c_JobDelivery_WebhookId_Id ON c_JobDelivery (WebhookId, Id DESC);

CREATE INDEX IX_c_JobBatch_ParentId ON c_JobBatch (ParentId);

CREATE INDEX IX_c_JobBatch_State ON c_JobBatch (State, Id);

CREATE INDEX IX_c_JobLink_Parent ON c_JobLink (ParentKind, ParentId);

CREATE INDEX IX_c_JobUnique_RunId ON c_JobUnique (RunId);

CREATE INDEX IX_c_JobIdempotency_RunId ON c_JobIdempotency (RunId);

CREATE INDEX IX_c_JobBlob_RunId ON c_JobBlob (RunId);

CREATE UNIQUE INDEX UQ_c_JobNotice_Key ON c_JobNotice (NoticeKey);

CREATE UNIQUE INDEX UQ_c_JobAudit_Seq ON c_JobAudit (Seq);

DROP INDEX IX_c_JobRun_JobName_State;

CREATE TRIGGER TR_c_JobRun_Ended AFTER UPDATE OF CompletedAt, JobName, State, Message ON c_JobRun
    WHEN NEW.CompletedAt IS NOT NULL
    BEGIN INSERT OR IGNORE INTO c_JobTextDue (RunId) VALUES (NEW.Id); END;

CREATE TRIGGER TR_c_JobRun_Born AFTER INSERT ON c_JobRun WHEN NEW.CompletedAt IS NOT NULL
    BEGIN INSERT OR IGNORE INTO c_JobTextDue (RunId) VALUES (NEW.Id); END;

CREATE TRIGGER TR_c_JobRun_Gone AFTER DELETE ON c_JobRun
    BEGIN INSERT OR IGNORE INTO c_JobTextDue (RunId) VALUES (OLD.Id); END;

CREATE VIRTUAL TABLE c_JobText USING fts5(Body, tokenize = 'trigram', detail = none);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt) SELECT 'unindexed runs', CAST(Newest AS VARCHAR(20)), strftime('%Y-%m-%d %H:%M:%f', 'now') || '000' FROM (SELECT max(Id) AS Newest FROM c_JobRun) AS found WHERE Newest IS NOT NULL;

INSERT INTO c_JobSetting (Name, Value, UpdatedAt) SELECT 'uncounted attempts', CAST(Newest AS VARCHAR(20)), strftime('%Y-%m-%d %H:%M:%f', 'now') || '000' FROM (SELECT max(ID) AS Newest FROM c_LoggedJob) AS found WHERE Newest IS NOT NULL;

INSERT INTO c_JobSetting (Name, Value, UpdatedAt) SELECT 'uncounted runs', CAST(Newest AS VARCHAR(20)), strftime('%Y-%m-%d %H:%M:%f', 'now') || '000' FROM (SELECT max(Id) AS Newest FROM c_JobRun) AS found WHERE Newest IS NOT NULL;

UPDATE c_AlembicVersion SET version_num='0015' WHERE c_AlembicVersion.version_num = '0001';

-- Running upgrade 0015 -> 0016

CREATE INDEX IX_c_JobRun_Waiting ON c_JobRun (State, JobName, Priority DESC, DueAt, Id) WHERE CompletedAt IS NULL AND Queue <> '';

DROP INDEX IX_c_JobRun_CompletedAt;

CREATE INDEX IX_c_JobRun_CompletedAt ON c_JobRun (CompletedAt, Id) WHERE CompletedAt IS NOT NULL;

INSERT INTO c_JobSetting (Name, Value, UpdatedAt) VALUES ('oldest_code 0016', '0015', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000');

UPDATE c_AlembicVersion SET version_num='0016' WHERE c_AlembicVersion.version_num = '0015';
