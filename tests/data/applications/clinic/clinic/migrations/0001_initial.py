from django.db import migrations, models


class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel(
            "Visit",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("patient", models.CharField(max_length=100)),
                ("is_reminded", models.BooleanField(default=False)),
            ],
        )
    ]
