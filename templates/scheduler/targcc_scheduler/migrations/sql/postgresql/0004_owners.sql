BEGIN;

-- Running upgrade 0003 -> 0004

CREATE TABLE c_JobOwner (
    JobName VARCHAR(100) NOT NULL,
    Owner VARCHAR(10) NOT NULL,
    OldKey VARCHAR(50),
    Runner VARCHAR(50),
    Since TIMESTAMP WITH TIME ZONE NOT NULL,
    ChangedBy VARCHAR(100) NOT NULL,
    Reason VARCHAR(500),
    Step VARCHAR(20),
    Mark VARCHAR(50),
    NextSlot TIMESTAMP WITH TIME ZONE,
    CONSTRAINT PK_c_JobOwner PRIMARY KEY (JobName)
);

CREATE TABLE c_JobShadow (
    JobName VARCHAR(100) NOT NULL,
    Slot TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT PK_c_JobShadow PRIMARY KEY (JobName, Slot)
);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0004', '0003', CURRENT_TIMESTAMP);

UPDATE c_alembicversion SET version_num='0004' WHERE c_alembicversion.version_num = '0003';

COMMIT;
