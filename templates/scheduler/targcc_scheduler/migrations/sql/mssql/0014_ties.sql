BEGIN TRANSACTION;

-- Running upgrade 0013 -> 0014

ALTER TABLE c_JobRun ADD Ties INTEGER NOT NULL DEFAULT '0';

GO

ALTER TABLE c_JobRun ADD LimitKey NVARCHAR(200) NULL;

GO

ALTER TABLE c_JobRun ADD Weight INTEGER NOT NULL DEFAULT '1';

GO

ALTER TABLE c_JobRun ADD BatchId BIGINT NULL;

GO

ALTER TABLE c_JobRun ADD Step NVARCHAR(100) NULL;

GO

ALTER TABLE c_JobRun ADD ExpiresAt DATETIME2(6) NULL;

GO

ALTER TABLE c_JobRun ADD UniqueKey NVARCHAR(200) NULL;

GO

ALTER TABLE c_JobRun ADD Trace NVARCHAR(500) NULL;

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

CREATE INDEX IX_c_JobLink_Parent ON c_JobLink (ParentKind, ParentId);

GO

CREATE INDEX IX_c_JobBatch_ParentId ON c_JobBatch (ParentId);

GO

CREATE INDEX IX_c_JobBatch_State ON c_JobBatch (State, Id);

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

CREATE TABLE c_JobIdempotency (
    IdempotencyKey NVARCHAR(200) NOT NULL,
    JobName NVARCHAR(100) NOT NULL,
    RunId BIGINT NOT NULL,
    Digest NVARCHAR(64) NOT NULL,
    CreatedAt DATETIME2(6) NOT NULL,
    CONSTRAINT PK_c_JobIdempotency PRIMARY KEY (IdempotencyKey)
);

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
    CONSTRAINT PK_c_JobLimit PRIMARY KEY (LimitKey)
);

GO

CREATE INDEX IX_c_JobUnique_RunId ON c_JobUnique (RunId);

GO

CREATE INDEX IX_c_JobIdempotency_RunId ON c_JobIdempotency (RunId);

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

CREATE INDEX IX_c_JobBlob_RunId ON c_JobBlob (RunId);

GO

CREATE INDEX IX_c_JobRun_BatchId ON c_JobRun (BatchId, State) WHERE BatchId IS NOT NULL;

GO

CREATE INDEX IX_c_JobRun_LimitKey ON c_JobRun (LimitKey, State, Priority DESC, DueAt, Id) WHERE LimitKey IS NOT NULL AND CompletedAt IS NULL;

GO

CREATE INDEX IX_c_JobRun_ExpiresAt ON c_JobRun (ExpiresAt) WHERE ExpiresAt IS NOT NULL AND CompletedAt IS NULL;

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0014', '0004', CURRENT_TIMESTAMP);

GO

UPDATE c_AlembicVersion SET version_num='0014' WHERE c_AlembicVersion.version_num = '0013';

GO

COMMIT;

GO
