-- Running upgrade 0002 -> 0003

ALTER TABLE c_JobRun ADD COLUMN UnknownSince DATETIME;

ALTER TABLE c_JobRun ADD COLUMN RefusedBy TEXT;

ALTER TABLE c_JobRun ADD COLUMN StopNote TEXT;

ALTER TABLE c_JobSchedule ADD COLUMN Release VARCHAR(100);

ALTER TABLE c_JobServer ADD COLUMN Release VARCHAR(100);

ALTER TABLE c_JobServer ADD COLUMN Fingerprint VARCHAR(64);

ALTER TABLE c_JobServer ADD COLUMN ClockOffsetMs INTEGER;

ALTER TABLE c_JobServer ADD COLUMN StuckSince DATETIME;

ALTER TABLE c_JobServer ADD COLUMN StuckIn TEXT;

ALTER TABLE c_JobServer ADD COLUMN DrainRequestedBy VARCHAR(100);

ALTER TABLE c_JobServer ADD COLUMN DrainRequestedAt DATETIME;

CREATE TABLE c_JobRelease (
    Release VARCHAR(100) NOT NULL,
    Fingerprint VARCHAR(64) NOT NULL,
    FirstSeenAt DATETIME NOT NULL,
    ChosenBy VARCHAR(100),
    ChosenAt DATETIME,
    CONSTRAINT PK_c_JobRelease PRIMARY KEY (Release)
);

CREATE TABLE c_JobSetting (
    Name VARCHAR(100) NOT NULL,
    Value TEXT NOT NULL,
    UpdatedAt DATETIME NOT NULL,
    CONSTRAINT PK_c_JobSetting PRIMARY KEY (Name)
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

CREATE INDEX IX_c_JobStat_BeginsAt ON c_JobStat (BeginsAt);

CREATE INDEX IX_c_JobRun_JobName_State_Id ON c_JobRun (JobName, State, Id DESC);

CREATE INDEX IX_c_JobAudit_JobName_Id ON c_JobAudit (JobName, Id DESC);

CREATE INDEX IX_c_JobAudit_At ON c_JobAudit (At, Id);

DROP INDEX IX_c_JobRun_JobName_State;

CREATE INDEX IX_c_JobRun_UnknownSince ON c_JobRun (UnknownSince) WHERE UnknownSince IS NOT NULL;

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0003', '0002', CURRENT_TIMESTAMP);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt) SELECT 'uncounted attempts', CAST(Newest AS VARCHAR(20)), strftime('%Y-%m-%d %H:%M:%f', 'now') || '000' FROM (SELECT max(ID) AS Newest FROM c_LoggedJob) AS found WHERE Newest IS NOT NULL;

INSERT INTO c_JobSetting (Name, Value, UpdatedAt) SELECT 'uncounted runs', CAST(Newest AS VARCHAR(20)), strftime('%Y-%m-%d %H:%M:%f', 'now') || '000' FROM (SELECT max(Id) AS Newest FROM c_JobRun) AS found WHERE Newest IS NOT NULL;

UPDATE c_AlembicVersion SET version_num='0003' WHERE c_AlembicVersion.version_num = '0002';
