BEGIN TRANSACTION;

-- Running upgrade 0007 -> 0008

CREATE TABLE c_JobOverride (
    JobName NVARCHAR(100) NOT NULL,
    Field NVARCHAR(30) NOT NULL,
    ValueJson NVARCHAR(max) NOT NULL,
    SetBy NVARCHAR(100) NOT NULL,
    SetAt DATETIME2(6) NOT NULL,
    Reason NVARCHAR(500) NOT NULL,
    EndsAt DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobOverride PRIMARY KEY (JobName, Field)
);

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0008', '0004', CURRENT_TIMESTAMP);

GO

UPDATE c_AlembicVersion SET version_num='0008' WHERE c_AlembicVersion.version_num = '0007';

GO

COMMIT;

GO
