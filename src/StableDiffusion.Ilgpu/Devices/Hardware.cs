namespace StableDiffusion.Ilgpu.Devices;

/// <summary>What computes behind a driver.</summary>
internal enum Hardware
{
    Processor,

    Gpu,

    /// <summary>A GPU that shares the processor's memory.</summary>
    IntegratedGpu,

    /// <summary>Something else that OpenCL reaches.</summary>
    Other,
}
