BEGIN TRANSACTION;

-- Running upgrade 0010 -> 0011

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

CREATE UNIQUE INDEX UQ_c_JobNotice_Key ON c_JobNotice (NoticeKey);

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0011', '0004', CURRENT_TIMESTAMP);

GO

UPDATE c_AlembicVersion SET version_num='0011' WHERE c_AlembicVersion.version_num = '0010';

GO

COMMIT;

GO
