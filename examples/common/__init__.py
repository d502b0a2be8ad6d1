"""What every example needs: data as people have them, arguments, the output folder, metrics, the report, endings."""
