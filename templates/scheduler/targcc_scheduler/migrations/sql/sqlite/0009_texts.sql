-- Running upgrade 0008 -> 0009

CREATE TABLE c_JobTextDue (
    RunId INTEGER NOT NULL,
    CONSTRAINT PK_c_JobTextDue PRIMARY KEY (RunId)
);

CREATE TABLE c_JobView (
    Person VARCHAR(100) NOT NULL,
    Name VARCHAR(100) NOT NULL,
    Search VARCHAR(2000) NOT NULL,
    CONSTRAINT PK_c_JobView PRIMARY KEY (Person, Name)
);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0009', '0004', CURRENT_TIMESTAMP);

CREATE TRIGGER TR_c_JobRun_Ended AFTER UPDATE OF CompletedAt, JobName, State, Message ON c_JobRun
    WHEN NEW.CompletedAt IS NOT NULL
    BEGIN INSERT OR IGNORE INTO c_JobTextDue (RunId) VALUES (NEW.Id); END;

CREATE TRIGGER TR_c_JobRun_Born AFTER INSERT ON c_JobRun WHEN NEW.CompletedAt IS NOT NULL
    BEGIN INSERT OR IGNORE INTO c_JobTextDue (RunId) VALUES (NEW.Id); END;

CREATE TRIGGER TR_c_JobRun_Gone AFTER DELETE ON c_JobRun
    BEGIN INSERT OR IGNORE INTO c_JobTextDue (RunId) VALUES (OLD.Id); END;

CREATE VIRTUAL TABLE c_JobText USING fts5(Body, tokenize = 'trigram', detail = none);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    SELECT 'unindexed runs', CAST(max(Id) AS varchar(20)), CURRENT_TIMESTAMP FROM c_JobRun HAVING max(Id) IS NOT NULL;

UPDATE c_AlembicVersion SET version_num='0009' WHERE c_AlembicVersion.version_num = '0008';
