BEGIN TRANSACTION;

-- Running upgrade 0009 -> 0010

CREATE TABLE c_JobWebhook (
    Id INTEGER NOT NULL IDENTITY,
    Shown NVARCHAR(200) NOT NULL,
    SealedJson NVARCHAR(max) NOT NULL,
    Events NVARCHAR(200) NOT NULL,
    Jobs NVARCHAR(1000) NOT NULL,
    CreatedBy NVARCHAR(100) NOT NULL,
    CreatedAt DATETIME2(6) NOT NULL,
    DisabledAt DATETIME2(6) NULL,
    DisabledBy NVARCHAR(100) NULL,
    FailingSince DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobWebhook PRIMARY KEY (Id)
);

GO

CREATE TABLE c_JobDelivery (
    Id BIGINT NOT NULL IDENTITY,
    WebhookId INTEGER NOT NULL,
    MessageId NVARCHAR(50) NOT NULL,
    Event NVARCHAR(30) NOT NULL,
    RunId BIGINT NULL,
    Body NVARCHAR(max) NOT NULL,
    Status NVARCHAR(10) NOT NULL,
    Attempts INTEGER NOT NULL DEFAULT '0',
    DueAt DATETIME2(6) NULL,
    Answer NVARCHAR(200) NULL,
    CreatedAt DATETIME2(6) NOT NULL,
    EndedAt DATETIME2(6) NULL,
    CONSTRAINT PK_c_JobDelivery PRIMARY KEY (Id),
    CONSTRAINT UQ_c_JobDelivery_MessageId UNIQUE (MessageId)
);

GO

CREATE INDEX IX_c_JobDelivery_DueAt ON c_JobDelivery (DueAt) WHERE DueAt IS NOT NULL;

GO

CREATE INDEX IX_c_JobDelivery_WebhookId_Id ON c_JobDelivery (WebhookId, Id DESC);

GO

INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0010', '0004', CURRENT_TIMESTAMP);

GO

UPDATE c_AlembicVersion SET version_num='0010' WHERE c_AlembicVersion.version_num = '0009';

GO

COMMIT;

GO
