BEGIN;

-- Running upgrade 0006 -> 0007

CREATE TABLE c_JobRequest (
    Scope VARCHAR(64) NOT NULL,
    RequestKey VARCHAR(200) NOT NULL,
    Digest VARCHAR(64) NOT NULL,
    Status INTEGER,
    Body TEXT,
    BegunAt TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT PK_c_JobRequest PRIMARY KEY (Scope, RequestKey)
);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0007', '0004', CURRENT_TIMESTAMP);

UPDATE c_alembicversion SET version_num='0007' WHERE c_alembicversion.version_num = '0006';

COMMIT;
