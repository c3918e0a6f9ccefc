BEGIN;

-- Running upgrade 0009 -> 0010

CREATE TABLE c_JobWebhook (
    Id SERIAL NOT NULL,
    Shown VARCHAR(200) NOT NULL,
    SealedJson TEXT NOT NULL,
    Events VARCHAR(200) NOT NULL,
    Jobs VARCHAR(1000) NOT NULL,
    CreatedBy VARCHAR(100) NOT NULL,
    CreatedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    DisabledAt TIMESTAMP WITH TIME ZONE,
    DisabledBy VARCHAR(100),
    FailingSince TIMESTAMP WITH TIME ZONE,
    CONSTRAINT PK_c_JobWebhook PRIMARY KEY (Id)
);

CREATE TABLE c_JobDelivery (
    Id BIGSERIAL NOT NULL,
    WebhookId INTEGER NOT NULL,
    MessageId VARCHAR(50) NOT NULL,
    Event VARCHAR(30) NOT NULL,
    RunId BIGINT,
    Body TEXT NOT NULL,
    Status VARCHAR(10) NOT NULL,
    Attempts INTEGER DEFAULT '0' NOT NULL,
    DueAt TIMESTAMP WITH TIME ZONE,
    Answer VARCHAR(200),
    CreatedAt TIMESTAMP WITH TIME ZONE NOT NULL,
    EndedAt TIMESTAMP WITH TIME ZONE,
    CONSTRAINT PK_c_JobDelivery PRIMARY KEY (Id),
    CONSTRAINT UQ_c_JobDelivery_MessageId UNIQUE (MessageId)
);

CREATE INDEX IX_c_JobDelivery_DueAt ON c_JobDelivery (DueAt) WHERE DueAt IS NOT NULL;

CREATE INDEX IX_c_JobDelivery_WebhookId_Id ON c_JobDelivery (WebhookId, Id DESC);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0010', '0004', CURRENT_TIMESTAMP);

UPDATE c_alembicversion SET version_num='0010' WHERE c_alembicversion.version_num = '0009';

COMMIT;
