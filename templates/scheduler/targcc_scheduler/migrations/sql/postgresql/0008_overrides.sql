BEGIN;

-- Running upgrade 0007 -> 0008

CREATE TABLE c_JobOverride (
    JobName VARCHAR(100) NOT NULL,
    Field VARCHAR(30) NOT NULL,
    ValueJson TEXT NOT NULL,
    SetBy VARCHAR(100) NOT NULL,
    SetAt TIMESTAMP WITH TIME ZONE NOT NULL,
    Reason VARCHAR(500) NOT NULL,
    EndsAt TIMESTAMP WITH TIME ZONE,
    CONSTRAINT PK_c_JobOverride PRIMARY KEY (JobName, Field)
);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0008', '0004', CURRENT_TIMESTAMP);

UPDATE c_alembicversion SET version_num='0008' WHERE c_alembicversion.version_num = '0007';

COMMIT;
