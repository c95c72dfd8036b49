using StableDiffusion.Ilgpu.Imaging;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu;

/// <summary>
/// Makes pictures of latents, in tiles where the request asks for them or the whole would not fit in the device's memory. Tiles are not
/// exact:
/// group norms and the attention of the autoencoder see a tile and not the picture.
/// </summary>
internal sealed class LatentDecoder<T>(DiffusionEngine<T> engine, LoadedModel model, GenerationRequest request) where T : unmanaged
{
    /// <summary>Has memory made for a latent of this size before the steps are taken, where that is known to be no risk.</summary>
    public void Reserve(int height, int width)
    {
        if (!request.VaeTiling)
        {
            engine.ReserveDecoder(height, width, request.Circular);
        }
    }

    /// <summary>A latent, channels first, to the bytes of a picture: rows of R, G, B.</summary>
    public byte[] Decode(ReadOnlySpan<float> latent, int height, int width, CancellationToken cancellationToken)
    {
        if (!VaeTiles.AreNeeded(request, height, width, () => engine.MeasureDecoder(height, width), () => engine.ArenaBudget(ModelPart.Vae)))
        {
            return engine.DecodeToBytes(latent, height, width, request.Circular, cancellationToken);
        }

        var grid = VaeTiles.Grid(request, height, width);
        var channels = model.VaeConfig.LatentChannels;
        var picture = grid.Apply(Layout.ToChannelsLast(latent, channels, height * width), 1, model.VaeConfig.PixelsPerLatent, tile =>
        {
            var (rows, columns) = (grid.Rows.Length, grid.Columns.Length);
            return engine.Decode(
                Layout.ToChannelsFirst(tile, channels, rows * columns), rows, columns, cancellationToken: cancellationToken);
        });
        return PixelBytes.Of(picture);
    }
}
