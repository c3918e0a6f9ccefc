BEGIN TRANSACTION;

-- Running upgrade 0011 -> 0012

CREATE TABLE c_JobMaintenance (
    Id BIGINT NOT NULL IDENTITY,
    StartsAt DATETIME2(6) NOT NULL,
    EndsAt DATETIME2(6) NOT NULL,
    Queues NVARCHAR(500) NOT NULL,
    Reason NVARCHAR(500) NOT NULL,
    PlannedBy NVARCHAR(100) NOT NULL,
    PlannedAt DATETIME2(6) NOT NULL,
    EndedBy NVARCHAR(100) NULL,
    CONSTRAINT PK_c_JobMaintenance PRIMARY KEY (Id)
);

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0012', '0004', CURRENT_TIMESTAMP);

GO

UPDATE c_AlembicVersion SET version_num='0012' WHERE c_AlembicVersion.version_num = '0011';

GO

COMMIT;

GO
