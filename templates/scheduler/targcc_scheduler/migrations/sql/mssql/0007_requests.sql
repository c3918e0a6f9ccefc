BEGIN TRANSACTION;

-- Running upgrade 0006 -> 0007

CREATE TABLE c_JobRequest (
    Scope NVARCHAR(64) NOT NULL,
    RequestKey NVARCHAR(200) NOT NULL,
    Digest NVARCHAR(64) NOT NULL,
    Status INTEGER NULL,
    Body NVARCHAR(max) NULL,
    BegunAt DATETIME2(6) NOT NULL,
    CONSTRAINT PK_c_JobRequest PRIMARY KEY (Scope, RequestKey)
);

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0007', '0004', CURRENT_TIMESTAMP);

GO

UPDATE c_AlembicVersion SET version_num='0007' WHERE c_AlembicVersion.version_num = '0006';

GO

COMMIT;

GO
