-- Running upgrade 0009 -> 0010

CREATE TABLE c_JobRole (
    Name VARCHAR(20) NOT NULL,
    GrantsJson TEXT NOT NULL,
    CONSTRAINT PK_c_JobRole PRIMARY KEY (Name)
);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0010', '0004', CURRENT_TIMESTAMP);

UPDATE c_AlembicVersion SET version_num='0010' WHERE c_AlembicVersion.version_num = '0009';
