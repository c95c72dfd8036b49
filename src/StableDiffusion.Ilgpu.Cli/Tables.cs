using Spectre.Console;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>Tables of plain cells.</summary>
internal static class Tables
{
    /// <summary>A table with these headings; <c>&gt;</c> in front of one puts its column to the right.</summary>
    public static Table Create(params string[] headings)
    {
        var table = new Table { Border = TableBorder.Simple };
        foreach (var heading in headings)
        {
            var right = heading.StartsWith('>');
            table.AddColumn(new TableColumn(new Spectre.Console.Text(right ? heading[1..] : heading))
            {
                Alignment = right ? Justify.Right : Justify.Left,
                NoWrap = true,
            });
        }

        return table;
    }

    /// <summary>Adds a row of one line; brackets in a cell are no markup.</summary>
    public static void AddTextRow(this Table table, params string[] cells) => table.AddRow(cells.Select(c => new Spectre.Console.Text(CommandContext.Shown(c))));

    /// <summary>Bytes in the unit that fits, for example <c>15.6 GiB</c>.</summary>
    public static string Bytes(long bytes) => bytes switch
    {
        >= 1L << 30 => $"{bytes / (double)(1L << 30):0.0} GiB",
        >= 1L << 20 => $"{bytes / (double)(1L << 20):0.0} MiB",
        >= 1L << 10 => $"{bytes / (double)(1L << 10):0.0} KiB",
        _ => $"{bytes} B",
    };
}
