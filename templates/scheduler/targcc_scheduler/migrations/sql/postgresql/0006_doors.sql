BEGIN;

-- Running upgrade 0005 -> 0006

ALTER TABLE c_JobAudit ADD COLUMN Seq BIGINT;

ALTER TABLE c_JobAudit ADD COLUMN Hash VARCHAR(64);

ALTER TABLE c_JobSession ADD COLUMN Device VARCHAR(200);

ALTER TABLE c_JobSession ADD COLUMN RemoteAddress VARCHAR(100);

ALTER TABLE c_JobSession ADD COLUMN LastSeenAt TIMESTAMP WITH TIME ZONE;

ALTER TABLE c_JobToken ADD COLUMN Prefix VARCHAR(20);

ALTER TABLE c_JobToken ADD COLUMN Account VARCHAR(100);

ALTER TABLE c_JobToken ADD COLUMN JobsJson TEXT;

ALTER TABLE c_JobUser ADD COLUMN TotpSecret VARCHAR(500);

ALTER TABLE c_JobUser ADD COLUMN TotpStep BIGINT;

ALTER TABLE c_JobUser ADD COLUMN RecoveryJson TEXT;

CREATE UNIQUE INDEX UQ_c_JobAudit_Seq ON c_JobAudit (Seq);

CREATE INDEX IX_c_JobAudit_Unsealed ON c_JobAudit (Id) WHERE Seq IS NULL AND Hash IS NOT NULL;

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0006', '0005', CURRENT_TIMESTAMP);

UPDATE c_alembicversion SET version_num='0006' WHERE c_alembicversion.version_num = '0005';

COMMIT;
