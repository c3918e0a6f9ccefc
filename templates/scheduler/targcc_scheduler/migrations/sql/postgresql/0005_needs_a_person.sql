BEGIN;

-- Running upgrade 0004 -> 0005

ALTER TABLE c_JobRun ADD COLUMN Cause VARCHAR(32);

ALTER TABLE c_JobRun ADD COLUMN HandledAt TIMESTAMP WITH TIME ZONE;

ALTER TABLE c_JobRun ADD COLUMN HandledBy VARCHAR(100);

ALTER TABLE c_JobRun ADD COLUMN Handling VARCHAR(500);

ALTER TABLE c_JobRun ADD COLUMN RetryOf BIGINT;

CREATE INDEX IX_c_JobRun_Cause ON c_JobRun (Cause, CompletedAt) WHERE Cause IS NOT NULL;

CREATE INDEX IX_c_JobRun_Open ON c_JobRun (Cause, Id) WHERE Cause IS NOT NULL AND HandledAt IS NULL;

CREATE INDEX IX_c_JobRun_RetryOf ON c_JobRun (State, RetryOf) WHERE RetryOf IS NOT NULL;

CREATE TABLE c_JobFailure (
    Cause VARCHAR(32) NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    Kind VARCHAR(200) NOT NULL,
    Place VARCHAR(300),
    Message TEXT,
    FirstAt TIMESTAMP WITH TIME ZONE NOT NULL,
    FirstRunId BIGINT,
    FirstRelease VARCHAR(100),
    SnoozedBy VARCHAR(100),
    SnoozedUntil TIMESTAMP WITH TIME ZONE,
    Note VARCHAR(1000),
    MutedBy VARCHAR(100),
    MutedAt TIMESTAMP WITH TIME ZONE,
    Assignee VARCHAR(100),
    Ticket VARCHAR(500),
    CONSTRAINT PK_c_JobFailure PRIMARY KEY (Cause)
);

CREATE TABLE c_JobConcern (
    Subject VARCHAR(200) NOT NULL,
    Kind VARCHAR(30) NOT NULL,
    Since TIMESTAMP WITH TIME ZONE NOT NULL,
    Detail TEXT NOT NULL,
    CONSTRAINT PK_c_JobConcern PRIMARY KEY (Subject, Kind)
);

CREATE TABLE c_JobBulk (
    Id BIGSERIAL NOT NULL,
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
    StartedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    EndedAt TIMESTAMP WITH TIME ZONE,
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

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0005', '0004', CURRENT_TIMESTAMP);

UPDATE c_alembicversion SET version_num='0005' WHERE c_alembicversion.version_num = '0004';

COMMIT;
