-- Running upgrade 0011 -> 0012

CREATE TABLE c_JobMaintenance (
    Id INTEGER NOT NULL,
    StartsAt DATETIME NOT NULL,
    EndsAt DATETIME NOT NULL,
    Queues VARCHAR(500) NOT NULL,
    Reason VARCHAR(500) NOT NULL,
    PlannedBy VARCHAR(100) NOT NULL,
    PlannedAt DATETIME NOT NULL,
    EndedBy VARCHAR(100),
    CONSTRAINT PK_c_JobMaintenance PRIMARY KEY (Id)
);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0012', '0004', CURRENT_TIMESTAMP);

UPDATE c_AlembicVersion SET version_num='0012' WHERE c_AlembicVersion.version_num = '0011';
