-- Running upgrade 0007 -> 0008

CREATE TABLE c_JobOverride (
    JobName VARCHAR(100) NOT NULL,
    Field VARCHAR(30) NOT NULL,
    ValueJson TEXT NOT NULL,
    SetBy VARCHAR(100) NOT NULL,
    SetAt DATETIME NOT NULL,
    Reason VARCHAR(500) NOT NULL,
    EndsAt DATETIME,
    CONSTRAINT PK_c_JobOverride PRIMARY KEY (JobName, Field)
);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0008', '0004', CURRENT_TIMESTAMP);

UPDATE c_AlembicVersion SET version_num='0008' WHERE c_AlembicVersion.version_num = '0007';
