BEGIN;

-- Running upgrade 0008 -> 0009

CREATE TABLE c_JobTextDue (
    RunId BIGINT NOT NULL,
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

CREATE TABLE c_JobText (
        RunId bigint NOT NULL CONSTRAINT PK_c_JobText PRIMARY KEY, Grams smallint ARRAY NOT NULL
    );

CREATE INDEX IX_c_JobText_Grams ON c_JobText USING gin (Grams);

CREATE FUNCTION c_JobTextNote() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            INSERT INTO c_JobTextDue (RunId) VALUES (OLD.Id) ON CONFLICT DO NOTHING;
        ELSE
            INSERT INTO c_JobTextDue (RunId) VALUES (NEW.Id) ON CONFLICT DO NOTHING;
        END IF;
        RETURN NULL;
    END $$;

CREATE TRIGGER TR_c_JobRun_Ended AFTER INSERT OR UPDATE OF CompletedAt, JobName, State, Message ON c_JobRun
    FOR EACH ROW WHEN (NEW.CompletedAt IS NOT NULL) EXECUTE FUNCTION c_JobTextNote();

CREATE TRIGGER TR_c_JobRun_Gone AFTER DELETE ON c_JobRun FOR EACH ROW EXECUTE FUNCTION c_JobTextNote();

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    SELECT 'unindexed runs', CAST(max(Id) AS varchar(20)), CURRENT_TIMESTAMP FROM c_JobRun HAVING max(Id) IS NOT NULL;

UPDATE c_alembicversion SET version_num='0009' WHERE c_alembicversion.version_num = '0008';

COMMIT;
