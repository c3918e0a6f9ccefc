BEGIN TRANSACTION;

-- Running upgrade 0012 -> 0013

CREATE TABLE c_JobRole (
    Name NVARCHAR(20) NOT NULL,
    GrantsJson NVARCHAR(max) NOT NULL,
    CONSTRAINT PK_c_JobRole PRIMARY KEY (Name)
);

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0013', '0004', CURRENT_TIMESTAMP);

GO

UPDATE c_AlembicVersion SET version_num='0013' WHERE c_AlembicVersion.version_num = '0012';

GO

COMMIT;

GO
