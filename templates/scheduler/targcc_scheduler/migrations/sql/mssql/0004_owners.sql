BEGIN TRANSACTION;

-- Running upgrade 0003 -> 0004

CREATE TABLE c_JobOwner (
    JobName NVARCHAR(100) NOT NULL,
    Owner NVARCHAR(10) NOT NULL,
    OldKey NVARCHAR(50) NULL,
    Runner NVARCHAR(50) NULL,
    Since DATETIME2(6) NOT NULL,
    ChangedBy NVARCHAR(100) NOT NULL,
    Reason NVARCHAR(500) NULL,
    Step NVARCHAR(20) NULL,
    Mark NVARCHAR(50) NULL,
    NextSlot DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobOwner PRIMARY KEY (JobName)
);

GO

CREATE TABLE c_JobShadow (
    JobName NVARCHAR(100) NOT NULL,
    Slot DATETIME2(6) NOT NULL,
    CONSTRAINT PK_c_JobShadow PRIMARY KEY (JobName, Slot)
);

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0004', '0003', CURRENT_TIMESTAMP);

GO

UPDATE c_AlembicVersion SET version_num='0004' WHERE c_AlembicVersion.version_num = '0003';

GO

COMMIT;

GO
