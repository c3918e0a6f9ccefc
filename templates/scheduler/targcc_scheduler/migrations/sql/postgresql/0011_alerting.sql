BEGIN;

-- Running upgrade 0010 -> 0011

CREATE TABLE c_JobAlertThread (
    Thread VARCHAR(100) NOT NULL,
    Kind VARCHAR(20) NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    About VARCHAR(200) NOT NULL,
    Title VARCHAR(300) NOT NULL,
    FirstAt TIMESTAMP WITH TIME ZONE NOT NULL,
    LastAt TIMESTAMP WITH TIME ZONE NOT NULL,
    FirstRunId BIGINT,
    LastRunId BIGINT,
    Number INTEGER NOT NULL,
    TargetsJson TEXT NOT NULL,
    EscalatesFrom TIMESTAMP WITH TIME ZONE,
    Step INTEGER DEFAULT '0' NOT NULL,
    CONSTRAINT PK_c_JobAlertThread PRIMARY KEY (Thread)
);

CREATE TABLE c_JobNotice (
    Id BIGSERIAL NOT NULL,
    NoticeKey VARCHAR(200) NOT NULL,
    JobName VARCHAR(100) NOT NULL,
    Channel VARCHAR(50) NOT NULL,
    Target TEXT NOT NULL,
    FromCode BOOLEAN NOT NULL,
    NoticeJson TEXT NOT NULL,
    DueAt TIMESTAMP WITH TIME ZONE NOT NULL,
    Tries INTEGER DEFAULT '0' NOT NULL,
    ClaimedBy VARCHAR(32),
    ClaimedUntil TIMESTAMP WITH TIME ZONE,
    CONSTRAINT PK_c_JobNotice PRIMARY KEY (Id)
);

CREATE UNIQUE INDEX UQ_c_JobNotice_Key ON c_JobNotice (NoticeKey);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0011', '0004', CURRENT_TIMESTAMP);

UPDATE c_alembicversion SET version_num='0011' WHERE c_alembicversion.version_num = '0010';

COMMIT;
