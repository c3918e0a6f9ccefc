-- Running upgrade 0012 -> 0013

CREATE TABLE c_JobRole (
    Name VARCHAR(20) NOT NULL,
    GrantsJson TEXT NOT NULL,
    CONSTRAINT PK_c_JobRole PRIMARY KEY (Name)
);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0013', '0004', CURRENT_TIMESTAMP);

UPDATE c_AlembicVersion SET version_num='0013' WHERE c_AlembicVersion.version_num = '0012';
