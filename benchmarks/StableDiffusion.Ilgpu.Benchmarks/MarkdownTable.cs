using System.Text;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>A table that reads well on a console and in Markdown.</summary>
internal sealed class MarkdownTable(params string[] headings)
{
    private readonly List<string[]> rows = [headings];

    public void Add(params string[] cells) => rows.Add(cells);

    /// <summary>The first column stands to the left, the others to the right.</summary>
    public override string ToString()
    {
        int[] widths = [.. headings.Select((_, column) => rows.Max(r => r[column].Length))];
        var text = new StringBuilder();
        foreach (var row in rows)
        {
            var cells = row.Select((cell, column) => column == 0 ? cell.PadRight(widths[column]) : cell.PadLeft(widths[column]));
            text.Append("| ").AppendJoin(" | ", cells).AppendLine(" |");
            if (row == headings)
            {
                var rules = widths.Select((width, column) => new string('-', width + 1) + (column == 0 ? '-' : ':'));
                text.Append('|').AppendJoin('|', rules).AppendLine("|");
            }
        }

        return text.ToString();
    }
}
