BEGIN;

-- Running upgrade 0013 -> 0014

ALTER TABLE c_JobRun ADD COLUMN Ties INTEGER DEFAULT '0' NOT NULL;

ALTER TABLE c_JobRun ADD COLUMN LimitKey VARCHAR(200);

ALTER TABLE c_JobRun ADD COLUMN Weight INTEGER DEFAULT '1' NOT NULL;

ALTER TABLE c_JobRun ADD COLUMN BatchId BIGINT;

ALTER TABLE c_JobRun ADD COLUMN Step VARCHAR(100);

ALTER TABLE c_JobRun ADD COLUMN ExpiresAt TIMESTAMP WITH TIME ZONE;

ALTER TABLE c_JobRun ADD COLUMN UniqueKey VARCHAR(200);

ALTER TABLE c_JobRun ADD COLUMN Trace VARCHAR(500);

CREATE TABLE c_JobBatch (
    Id BIGSERIAL NOT NULL,
    Name VARCHAR(200) NOT NULL,
    Kind VARCHAR(10) NOT NULL,
    State VARCHAR(20) NOT NULL,
    CreatedBy VARCHAR(100) NOT NULL,
    CreatedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    CompletedAt TIMESTAMP WITH TIME ZONE,
    ParentId BIGINT,
    Total INTEGER DEFAULT '0' NOT NULL,
    Pending INTEGER DEFAULT '0' NOT NULL,
    Failed INTEGER DEFAULT '0' NOT NULL,
    CancelledBy VARCHAR(100),
    DefinitionJson TEXT,
    ArgumentsJson TEXT,
    CONSTRAINT PK_c_JobBatch PRIMARY KEY (Id)
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

CREATE INDEX IX_c_JobLink_Parent ON c_JobLink (ParentKind, ParentId);

CREATE INDEX IX_c_JobBatch_ParentId ON c_JobBatch (ParentId);

CREATE INDEX IX_c_JobBatch_State ON c_JobBatch (State, Id);

CREATE TABLE c_JobUnique (
    JobName VARCHAR(100) NOT NULL,
    UniqueKey VARCHAR(200) NOT NULL,
    RunId BIGINT NOT NULL,
    Scope VARCHAR(20) NOT NULL,
    Until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT PK_c_JobUnique PRIMARY KEY (JobName, UniqueKey)
);

CREATE TABLE c_JobIdempotency (
    IdempotencyKey VARCHAR(200) NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    RunId BIGINT NOT NULL,
    Digest VARCHAR(64) NOT NULL,
    CreatedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT PK_c_JobIdempotency PRIMARY KEY (IdempotencyKey)
);

CREATE TABLE c_JobLimit (
    LimitKey VARCHAR(200) NOT NULL,
    JobName VARCHAR(100),
    Most INTEGER,
    IntervalMs FLOAT,
    Burst INTEGER,
    NextAt TIMESTAMP WITH TIME ZONE,
    WakeId BIGINT,
    UpdatedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT PK_c_JobLimit PRIMARY KEY (LimitKey)
);

CREATE INDEX IX_c_JobUnique_RunId ON c_JobUnique (RunId);

CREATE INDEX IX_c_JobIdempotency_RunId ON c_JobIdempotency (RunId);

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
    Data BYTEA,
    CreatedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT PK_c_JobBlob PRIMARY KEY (Id)
);

CREATE INDEX IX_c_JobBlob_RunId ON c_JobBlob (RunId);

CREATE INDEX IX_c_JobRun_BatchId ON c_JobRun (BatchId, State) WHERE BatchId IS NOT NULL;

CREATE INDEX IX_c_JobRun_LimitKey ON c_JobRun (LimitKey, State, Priority DESC, DueAt, Id) WHERE LimitKey IS NOT NULL AND CompletedAt IS NULL;

CREATE INDEX IX_c_JobRun_ExpiresAt ON c_JobRun (ExpiresAt) WHERE ExpiresAt IS NOT NULL AND CompletedAt IS NULL;

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0014', '0004', CURRENT_TIMESTAMP);

UPDATE c_alembicversion SET version_num='0014' WHERE c_alembicversion.version_num = '0013';

COMMIT;
