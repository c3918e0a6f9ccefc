-- Running upgrade 0009 -> 0010

CREATE TABLE c_JobWebhook (
    Id INTEGER NOT NULL,
    Shown VARCHAR(200) NOT NULL,
    SealedJson TEXT NOT NULL,
    Events VARCHAR(200) NOT NULL,
    Jobs VARCHAR(1000) NOT NULL,
    CreatedBy VARCHAR(100) NOT NULL,
    CreatedAt DATETIME NOT NULL,
    DisabledAt DATETIME,
    DisabledBy VARCHAR(100),
    FailingSince DATETIME,
    CONSTRAINT PK_c_JobWebhook PRIMARY KEY (Id)
);

CREATE TABLE c_JobDelivery (
    Id INTEGER NOT NULL,
    WebhookId INTEGER NOT NULL,
    MessageId VARCHAR(50) NOT NULL,
    Event VARCHAR(30) NOT NULL,
    RunId BIGINT,
    Body TEXT NOT NULL,
    Status VARCHAR(10) NOT NULL,
    Attempts INTEGER DEFAULT '0' NOT NULL,
    DueAt DATETIME,
    Answer VARCHAR(200),
    CreatedAt DATETIME NOT NULL,
    EndedAt DATETIME,
    CONSTRAINT PK_c_JobDelivery PRIMARY KEY (Id),
    CONSTRAINT UQ_c_JobDelivery_MessageId UNIQUE (MessageId)
);

CREATE INDEX IX_c_JobDelivery_DueAt ON c_JobDelivery (DueAt) WHERE DueAt IS NOT NULL;

CREATE INDEX IX_c_JobDelivery_WebhookId_Id ON c_JobDelivery (WebhookId, Id DESC);

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0010', '0004', CURRENT_TIMESTAMP);

UPDATE c_AlembicVersion SET version_num='0010' WHERE c_AlembicVersion.version_num = '0009';
