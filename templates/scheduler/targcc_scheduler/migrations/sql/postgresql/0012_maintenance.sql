BEGIN;

-- Running upgrade 0011 -> 0012

CREATE TABLE c_JobMaintenance (
    Id BIGSERIAL NOT NULL,
    StartsAt TIMESTAMP WITH TIME ZONE NOT NULL,
    EndsAt TIMESTAMP WITH TIME ZONE NOT NULL,
    Queues VARCHAR(500) NOT NULL,
    Reason VARCHAR(500) NOT NULL,
    PlannedBy VARCHAR(100) NOT NULL,
    PlannedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    EndedBy VARCHAR(100),
    CONSTRAINT PK_c_JobMaintenance PRIMARY KEY (Id)
);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0012', '0004', CURRENT_TIMESTAMP);

UPDATE c_alembicversion SET version_num='0012' WHERE c_alembicversion.version_num = '0011';

COMMIT;
