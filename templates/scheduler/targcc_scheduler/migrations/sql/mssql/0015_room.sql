BEGIN TRANSACTION;

-- Running upgrade 0014 -> 0015

ALTER TABLE c_JobRun ADD RoomAt DATETIME2(6) NULL;

GO

UPDATE c_JobRun SET RoomAt = DueAt WHERE LimitKey IS NOT NULL AND State IN ('enqueued');

GO

CREATE INDEX IX_c_JobRun_RoomAt ON c_JobRun (LimitKey) WHERE RoomAt IS NOT NULL;

GO

CREATE INDEX IX_c_JobRun_Step ON c_JobRun (BatchId, Step, State) WHERE Step IS NOT NULL AND CompletedAt IS NULL;

GO

ALTER TABLE c_JobLimit ADD Version BIGINT NOT NULL DEFAULT '0';

GO

ALTER TABLE c_JobLimit ADD IsAwaited BIT NOT NULL DEFAULT 0;

GO

UPDATE c_JobLimit SET IsAwaited=1;

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0015', '0004', CURRENT_TIMESTAMP);

GO

UPDATE c_AlembicVersion SET version_num='0015' WHERE c_AlembicVersion.version_num = '0014';

GO

COMMIT;

GO
