using System.CommandLine;
using System.Globalization;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The options for decoding and encoding in tiles, by the names and with the defaults of stable-diffusion.cpp.</summary>
internal sealed class TilingOptionSet
{
    private readonly Option<bool> tiling = new("--vae-tiling")
    {
        Description = "Decode, and encode pictures, in overlapping tiles: less memory, slightly different colours; done anyway where memory is too small",
    };

    private readonly Option<string> size = SharedOptions.Choice(
        "--vae-tile-size", "Size of a tile in pixels of the latent, of which each is 8 of the picture: 32 or 32x32", "32x32",
        text => ReadSize(text));

    private readonly Option<double?> overlap = SharedOptions.Number<double>(
        "--vae-tile-overlap", "Share of a tile, 0 to 0.5, that neighbours overlap");

    public TilingOptionSet()
    {
        size.HelpName = "size";
        overlap.DefaultValueFactory = _ => 0.5;
    }

    public void AddTo(Command command)
    {
        command.Add(tiling);
        command.Add(size);
        command.Add(overlap);
    }

    public GenerationRequest Apply(ParseResult parsed, GenerationRequest request)
    {
        var (width, height) = ReadSize(parsed.GetValue(size)!);
        return request with
        {
            VaeTiling = parsed.GetValue(tiling),
            VaeTileWidth = width,
            VaeTileHeight = height,
            VaeTileOverlap = parsed.GetValue(overlap)!.Value,
        };
    }

    private static (int Width, int Height) ReadSize(string text)
    {
        int?[] sides = [.. text.Split('x').Select(side =>
            int.TryParse(side, NumberStyles.None, CultureInfo.InvariantCulture, out var pixels) && pixels > 0 ? pixels : (int?)null)];
        return sides is [{ } width, .. { Length: <= 1 }] && sides[^1] is { } height ? (width, height)
            : throw new StableDiffusionException($"VAE tile size '{text}' is not a size; valid: 32 or 32x32");
    }
}
