BEGIN TRANSACTION;

-- Running upgrade 0005 -> 0006

ALTER TABLE c_JobAudit ADD Seq BIGINT NULL;

GO

ALTER TABLE c_JobAudit ADD Hash NVARCHAR(64) NULL;

GO

ALTER TABLE c_JobSession ADD Device NVARCHAR(200) NULL;

GO

ALTER TABLE c_JobSession ADD RemoteAddress NVARCHAR(100) NULL;

GO

ALTER TABLE c_JobSession ADD LastSeenAt DATETIME2(6) NULL;

GO

ALTER TABLE c_JobToken ADD Prefix NVARCHAR(20) NULL;

GO

ALTER TABLE c_JobToken ADD Account NVARCHAR(100) NULL;

GO

ALTER TABLE c_JobToken ADD JobsJson NVARCHAR(max) NULL;

GO

ALTER TABLE c_JobUser ADD TotpSecret NVARCHAR(500) NULL;

GO

ALTER TABLE c_JobUser ADD TotpStep BIGINT NULL;

GO

ALTER TABLE c_JobUser ADD RecoveryJson NVARCHAR(max) NULL;

GO

CREATE UNIQUE INDEX UQ_c_JobAudit_Seq ON c_JobAudit (Seq) WHERE Seq IS NOT NULL;

GO

CREATE INDEX IX_c_JobAudit_Unsealed ON c_JobAudit (Id) WHERE Seq IS NULL AND Hash IS NOT NULL;

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0006', '0005', CURRENT_TIMESTAMP);

GO

UPDATE c_AlembicVersion SET version_num='0006' WHERE c_AlembicVersion.version_num = '0005';

GO

COMMIT;

GO
