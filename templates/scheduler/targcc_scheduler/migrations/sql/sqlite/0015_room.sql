-- Running upgrade 0014 -> 0015

ALTER TABLE c_JobRun ADD COLUMN RoomAt DATETIME;

UPDATE c_JobRun SET RoomAt = DueAt WHERE LimitKey IS NOT NULL AND State IN ('enqueued');

CREATE INDEX IX_c_JobRun_RoomAt ON c_JobRun (LimitKey) WHERE RoomAt IS NOT NULL;

CREATE INDEX IX_c_JobRun_Step ON c_JobRun (BatchId, Step, State) WHERE Step IS NOT NULL AND CompletedAt IS NULL;

ALTER TABLE c_JobLimit ADD COLUMN Version BIGINT DEFAULT '0' NOT NULL;

ALTER TABLE c_JobLimit ADD COLUMN IsAwaited BOOLEAN DEFAULT 0 NOT NULL;

UPDATE c_JobLimit SET IsAwaited=1;

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0015', '0004', CURRENT_TIMESTAMP);

UPDATE c_AlembicVersion SET version_num='0015' WHERE c_AlembicVersion.version_num = '0014';
