BEGIN TRANSACTION;

-- Running upgrade 0009 -> 0010

CREATE TABLE c_JobRole (
    Name NVARCHAR(20) NOT NULL,
    GrantsJson NVARCHAR(max) NOT NULL,
    CONSTRAINT PK_c_JobRole PRIMARY KEY (Name)
);

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0010', '0004', CURRENT_TIMESTAMP);

GO

UPDATE c_AlembicVersion SET version_num='0010' WHERE c_AlembicVersion.version_num = '0009';

GO

COMMIT;

GO
