namespace StableDiffusion.Ilgpu.Peers.Torch;

/// <summary>How pictures lie in memory.</summary>
internal enum MemoryLayout
{
    /// <summary>Channel by channel: torch's default.</summary>
    Default,

    /// <summary>Pixel by pixel.</summary>
    ChannelsLast,
}
