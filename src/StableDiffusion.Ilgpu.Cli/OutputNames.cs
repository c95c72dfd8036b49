using System.Text.RegularExpressions;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The files that the pictures of a batch go to, named as stable-diffusion.cpp names them.</summary>
internal static partial class OutputNames
{
    /// <summary>The files of <paramref name="count"/> pictures.</summary>
    /// <exception cref="StableDiffusionException">The output is a folder, or its extension stands for another format.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled: a million names take a while.</exception>
    public static string[] All(string output, int count, CancellationToken cancellationToken)
    {
        var files = new string[count];
        for (var i = 0; i < count; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            files[i] = Of(output, i, count);
        }

        return files;
    }

    /// <summary>
    /// The file of picture <paramref name="index"/> (from 0): <c>%d</c> or <c>%03d</c> in the output is replaced by the index;
    /// without such a pattern a batch of several gets <c>_0</c>, <c>_1</c>, … before the extension.
    /// </summary>
    /// <exception cref="StableDiffusionException">The output is a folder, or its extension stands for another format.</exception>
    public static string Of(string output, int index, int count)
    {
        RefuseOtherFormats(output);
        var extension = Path.GetExtension(output);
        if (output.Length == 0 || Path.EndsInDirectorySeparator(output) || Directory.Exists(output))
        {
            throw new StableDiffusionException($"cannot write '{output}': it is not the name of a file");
        }

        // Anything else behind a dot belongs to the name ("cat-v1.5").
        var isPng = string.Equals(extension, ".png", StringComparison.OrdinalIgnoreCase);
        var (stem, end) = isPng ? (output[..^extension.Length], extension) : (output, ".png");
        var pattern = Pattern().Match(stem);
        return pattern.Success
            ? stem[..pattern.Index] + index.ToString($"D{pattern.Groups["digits"].Value}") + stem[(pattern.Index + pattern.Length)..] + end
            : count > 1 ? $"{stem}_{index}{end}" : stem + end;
    }

    /// <summary>Refuses a name whose extension stands for another format than PNG.</summary>
    /// <exception cref="StableDiffusionException">It does.</exception>
    public static void RefuseOtherFormats(string output)
    {
        var extension = Path.GetExtension(output);
        if (extension.ToLowerInvariant() is ".jpg" or ".jpeg" or ".webp" or ".bmp" or ".gif" or ".tif" or ".tiff")
        {
            throw new StableDiffusionException($"cannot write '{output}': {extension} is not supported; valid: .png");
        }
    }

    [GeneratedRegex(@"%(0(?<digits>\d))?d")]
    private static partial Regex Pattern();
}
