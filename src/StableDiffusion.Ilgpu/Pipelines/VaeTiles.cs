using StableDiffusion.Ilgpu.Imaging;

namespace StableDiffusion.Ilgpu;

/// <summary>When the autoencoder works in tiles, and in which.</summary>
internal static class VaeTiles
{
    /// <param name="request">Asks for tiles, or leaves it to memory.</param>
    /// <param name="height">Of the latent.</param>
    /// <param name="width">Of the latent.</param>
    /// <param name="measure">Bytes that the whole at once would need.</param>
    /// <param name="budget">Bytes that there are.</param>
    public static bool AreNeeded(GenerationRequest request, int height, int width, Func<long> measure, Func<long> budget) =>
        (height > request.VaeTileHeight || width > request.VaeTileWidth) && (request.VaeTiling || measure() > budget());

    public static TileGrid Grid(GenerationRequest request, int height, int width) => new(
        TileAxis.Create(height, request.VaeTileHeight, request.VaeTileOverlap, request.Circular),
        TileAxis.Create(width, request.VaeTileWidth, request.VaeTileOverlap, request.Circular));
}
