BEGIN TRANSACTION;

-- Running upgrade 0008 -> 0009

CREATE TABLE c_JobTextDue (
    RunId BIGINT NOT NULL,
    CONSTRAINT PK_c_JobTextDue PRIMARY KEY (RunId)
);

GO

CREATE TABLE c_JobView (
    Person NVARCHAR(100) NOT NULL,
    Name NVARCHAR(100) NOT NULL,
    Search NVARCHAR(2000) NOT NULL,
    CONSTRAINT PK_c_JobView PRIMARY KEY (Person, Name)
);

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0009', '0004', CURRENT_TIMESTAMP);

GO

UPDATE c_AlembicVersion SET version_num='0009' WHERE c_AlembicVersion.version_num = '0008';

GO

COMMIT;

GO
